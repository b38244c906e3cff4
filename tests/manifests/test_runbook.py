"""The runbook: every page is found, every link leads somewhere, every command is one there is."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import promql_parser
import pytest
import yaml

from abserve.cli import cli
from tests.manifests.rendering import MANIFESTS, ROOT
from tests.runbook import FOLDER, PAGES, TRIED, blocks, inline

BIN = Path(sys.executable).parent

PROGRAMS = ("abserve", "kubectl", "rclone")
# What a word of a shell script is followed by a command of its own.
_KEYWORDS = {"do", "then", "else", "if", "while", "!"}
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")

# As `kubectl api-resources` calls them, with the operators' own.
KINDS = {
    *("pod", "pods", "pvc", "node", "nodes", "events", "job", "jobs", "cronjob", "lease", "secret"),
    *("deployment", "svc", "networkpolicies", "hpa"),
    *("sdep",),  # Seldon Core
    *("certificate", "certificates", "certificaterequest", "order", "challenge", "clusterissuer"),
    *("virtualservice",),  # Istio
    *("externalsecret",),  # External Secrets
    *("scaledobject",),  # KEDA
    *("kustomization",),  # Flux
    *("servicemonitor", "podmonitor", "prometheus"),  # the Prometheus operator
}
OF_KINDS = {"get", "describe", "delete", "patch", "wait", "edit"}


def alerts() -> set[str]:
    """Return the pages that alerts link to."""
    rules = (MANIFESTS / "monitoring/rules").glob("*.yaml")
    return {
        rule["annotations"]["runbook_url"].rpartition("/")[2].partition(".md")[0]
        for path in rules
        for document in yaml.safe_load_all(path.read_text())
        if document and document.get("kind") == "PrometheusRule"
        for group in document["spec"]["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }


def commands(page: str, program: str) -> list[list[str]]:
    """Return every call of a program on a page: its words, without its name."""
    found = {call for text in scripts(page) for call in calls(text) if call[0] == program}
    return [before_redirection(call)[1:] for call in sorted(found)]


def scripts(page: str) -> Iterator[str]:
    yield from (each.text for each in blocks(page) if each.says.split()[:1] == ["sh"])
    yield from (each for each in inline(page) if each.startswith(tuple(f"{p} " for p in PROGRAMS)))


def calls(script: str) -> Iterator[tuple[str, ...]]:
    """Yield the simple commands of a script, each as its words."""
    script = re.sub(r"<<'(\w+)'.*?^\1$", "", script, flags=re.MULTILINE | re.DOTALL)
    script = re.sub(r"(?<=\s)#\s.*$", "", script, flags=re.MULTILINE).replace("\\\n", " ")
    for inner in re.findall(r"\$\(([^()]*(?:\([^()]*\)[^()]*)*)\)", script):
        yield from calls(inner)
    words = shlex.shlex(script, posix=True, punctuation_chars="();<>|&\n")
    words.whitespace, words.whitespace_split, words.commenters = " \t", True, ""
    call: list[str] = []
    for word in (*words, ";"):
        if set(word) <= set("();|&\n"):
            if call:
                yield tuple(call)
            call = []
        elif call or not (word in _KEYWORDS or _ASSIGNMENT.match(word)):
            call.append(word)


def before_redirection(call: tuple[str, ...]) -> list[str]:
    ends = [place for place, word in enumerate(call) if set(word) <= set("<>")]
    return list(call[: ends[0]] if ends else call)


@cache
def said(*command: str) -> str:
    """Return what a program says when it is asked; nothing where it knows no such command."""
    done = subprocess.run(
        [BIN / command[0], *command[1:]], capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout


def options_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])(--?[A-Za-z][\w-]*)", text))


def unknown(words: list[str], known: set[str]) -> list[str]:
    """Return the options among `words` that are not known."""
    given = [word.partition("=")[0] for word in words if word.startswith("-") and word != "-"]
    return [each for each in given if each not in known]


def usage_of(words: tuple[str, ...]) -> str:
    """Return the first words of the usage of a command of kubectl; it ends with its operands."""
    told = said("kubectl", *words, "--help")
    found = re.search(r"^Usage:\n  (kubectl[a-z -]*)", told, re.MULTILINE)
    return found[1].strip() if found else ""


def verb_of(words: list[str]) -> tuple[str, ...]:
    """Return the words that name a command of kubectl; it answers for others with its own usage."""
    verb: tuple[str, ...] = ()
    for word in words:
        if word.startswith("-") or usage_of((*verb, word)) in {"", usage_of(verb)}:
            break
        verb = (*verb, word)
    return verb


def test_every_page_is_linked_by_the_table_or_by_an_alert() -> None:
    linked = set(re.findall(r"\]\(([\w-]+)\.md\)", (FOLDER / "README.md").read_text()))
    assert {*PAGES} - {"README"} == linked | alerts()


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (FOLDER / f"{page}.md").read_text())
    assert [each for each in links if not (FOLDER / each).is_file()] == []


def test_every_page_whose_blocks_are_said_to_be_tried_is_walked() -> None:
    said_of = {page: {each.says for each in blocks(page)} for page in PAGES}
    of_shells = {says for said in said_of.values() for says in said if says.startswith("sh")}
    assert of_shells <= {"sh", *TRIED}
    walks = "".join(each.read_text() for each in (ROOT / "tests/e2e").glob("test_*.py"))
    walked = set(re.findall(r'on_call\(\s*"([\w-]+)"', walks))
    assert {page for page in PAGES if said_of[page] & TRIED} == walked


@pytest.mark.parametrize("page", PAGES)
def test_a_shell_can_read_every_block(page: str) -> None:
    for block in blocks(page):
        if block.says.startswith("sh"):
            read = subprocess.run(
                ["bash", "-n"],
                input=block.text,
                capture_output=True,
                text=True,
                timeout=10,
                check=False,
            )
            assert read.stderr == ""


@pytest.mark.parametrize("page", PAGES)
def test_abserve_has_each_command_and_its_options(page: str) -> None:
    for words in commands(page, "abserve"):
        assert left_over(words) == []


def left_over(words: list[str]) -> list[str]:
    """Read a command line as abserve does; return what it has no use for."""
    command: click.Command = cli
    while isinstance(command, click.Group) and words:
        context = click.Context(command)
        _, words, _ = command.make_parser(context).parse_args(words)
        if words:
            found = command.get_command(context, words[0])
            assert found is not None, f"abserve has no {words[0]}"
            command, words = found, words[1:]
    _, left, _ = command.make_parser(click.Context(command)).parse_args(words)
    return left


@pytest.mark.parametrize("page", PAGES)
def test_kubectl_has_each_verb_its_options_and_the_kind(page: str) -> None:
    for words in commands(page, "kubectl"):
        # What stands behind `--` is run in a container.
        own = words[: words.index("--")] if "--" in words else words
        own = own[2:] if own[0] == "-n" else own
        verb = verb_of(own)
        assert verb, f"kubectl has no {own[0]}"
        told = said("kubectl", "options") + said("kubectl", *verb, "--help")
        assert unknown(own, options_in(told)) == [], words
        if verb[0] in OF_KINDS and len(own) > 1 and not own[1].startswith(("-", "$")):
            assert {*own[1].partition("/")[0].split(",")} <= KINDS, words


@pytest.mark.parametrize("page", PAGES)
def test_rclone_has_each_command_and_its_options(page: str) -> None:
    for words in commands(page, "rclone"):
        told = said("rclone", words[0], "--help")
        assert f"rclone {words[0]} " in told
        assert unknown(words, options_in(told + said("rclone", "help", "flags"))) == [], words


@pytest.mark.parametrize("page", PAGES)
def test_prometheus_can_read_every_query(page: str) -> None:
    for block in blocks(page):
        for query in re.findall(r"'query=([^']*)'", block.text):
            promql_parser.parse(query)


def test_a_command_that_there_is_not_is_found() -> None:
    assert list(calls('a=1 abserve x --y | jq . && b="$(kubectl get pods)"  # z')) == [
        ("kubectl", "get", "pods"),
        ("abserve", "x", "--y"),
        ("jq", "."),
    ]
    with pytest.raises(AssertionError, match="abserve has no modles"):
        left_over(["modles", "list"])
    with pytest.raises(click.NoSuchOption):
        left_over(["-n", "models", "rollback", "iris", "--remov"])
    assert left_over(["rollback", "iris", "v3"]) == ["v3"]
    assert verb_of(["rolout", "restart"]) == ()
    assert verb_of(["rollout", "restart", "deployment/x"]) == ("rollout", "restart")
    known = options_in(said("kubectl", "logs", "--help"))
    assert unknown(["logs", "-f", "--tail=3", "--tial", "3"], known) == ["--tial"]
