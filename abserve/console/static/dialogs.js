// What a person is asked before anything changes, and how the change goes.

import { tone } from "./detail.js";
import { h, render } from "./dom.js";

const LOG_LINES = 200;
const WHOLE = 100;

const dialog = document.getElementById("dialog");
let onChange = null;

dialog.addEventListener("close", () => {
  onChange = null;
  render(dialog);
});

// Tell the open dialog how the latest change of its deployment goes.
export function changed(change) {
  onChange?.(change);
}

export function askWeights(deployment) {
  const variants = deployment.predictors.filter(({ shadow }) => !shadow);
  const before = Object.fromEntries(variants.map(({ name, weight }) => [name, weight]));
  const weights = { ...before };
  const fields = () => variants.map((each, i) => {
    const set = (event) => {
      if (event.target.value === "") return;
      balance(weights, each.name, Number(event.target.value));
      ask.draw();
      for (const input of dialog.querySelectorAll("input")) {
        if (Number(input.value) !== weights[input.name]) input.value = weights[input.name];
      }
    };
    const common = { name: each.name, min: 0, max: WHOLE, step: 1, value: weights[each.name], oninput: set };
    return h("div", { class: `field ${tone(each, i)}`, key: each.name },
      h("label", { for: `weight-${each.name}` }, each.name, " ", h("span", { class: "quiet" }, each.version ?? "")),
      h("input", { type: "range", "aria-label": `Weight of ${each.name}, percent`, ...common }),
      h("span", { class: "percent" }, h("input", { type: "number", id: `weight-${each.name}`, inputmode: "numeric", ...common }), " %"));
  });
  const moves = () => variants
    .filter(({ name }) => weights[name] !== before[name])
    .map(({ name }) => `${name} ${before[name]} % → ${weights[name]} %`);
  const ask = confirm({
    deployment,
    path: "weights",
    title: "Set weights",
    action: "Set weights",
    body: () => ({ weights }),
    allowed: () => moves().length > 0,
    content: () => [
      fields(),
      h("output", { class: "consequence", "aria-live": "polite" },
        moves().length ? `${deployment.name}: ${moves().join(", ")}` : "Nothing changes yet."),
    ],
  });
}

export function askRollback(deployment) {
  const { predictors, baseline, candidate } = deployment;
  const { n_ready: ready, n_wanted: wanted } = predictors.find(({ name }) => name === candidate);
  const moves = predictors
    .filter(({ shadow }) => !shadow)
    .map(({ name, weight }) => `${name} ${weight} % → ${name === baseline ? WHOLE : 0} %`);
  confirm({
    deployment,
    path: "rollback",
    title: "Roll back",
    action: "Roll back",
    content: () => [
      h("p", { class: "consequence" }, `${deployment.name}: ${moves.join(", ")}`),
      h("p", {}, `All requests go to ${baseline} again. `, ready > 0 && ready >= wanted
        ? `${candidate} keeps running, without requests.`
        : `${candidate} is not ready, so it is removed: Seldon changes no weights while it is there.`),
    ],
  });
}

export function askPromote(deployment) {
  const find = (name) => deployment.predictors.find((each) => each.name === name);
  const [baseline, candidate] = [find(deployment.baseline), find(deployment.candidate)];
  const version = ({ version: name, model_uri: uri }) => (name ? `${name}, ${uri}` : uri);
  confirm({
    deployment,
    path: "promote",
    title: `Promote ${candidate.name}`,
    action: "Promote",
    content: () => [
      h("p", { class: "consequence" },
        `${deployment.name}: ${candidate.name} ${candidate.weight} % → ${WHOLE} %, then it becomes ${baseline.name}`),
      h("ol", {},
        h("li", {}, `${candidate.name} gets all requests, ${baseline.name} ${baseline.weight} % → 0 %`),
        h("li", {}, `${baseline.name} serves ${version(candidate)} instead of ${version(baseline)}`),
        h("li", {}, `${baseline.name} gets all requests, and ${candidate.name} is removed`)),
    ],
  });
}

export function showLog(pod) {
  let text = null;
  let error = "";
  const draw = () => render(dialog,
    h("form", { method: "dialog", class: "log", key: `log ${pod}` },
      h("h2", { id: "dialog-title" }, "Log of ", h("code", {}, pod)),
      error ? h("p", { class: "failure", role: "alert" }, error)
        : h("pre", { tabindex: "0", role: "region", "aria-label": `The last lines of ${pod}` },
          text === null ? "Reading …" : text || "It has written nothing."),
      h("p", { class: "buttons" },
        h("button", { type: "button", key: "again", onclick: read }, "Read again"),
        h("button", { key: "close", class: "main" }, "Close"))));
  const read = async () => {
    try {
      const answer = await fetch(`/api/pods/${encodeURIComponent(pod)}/log?lines=${LOG_LINES}`);
      if (!answer.ok) throw new Error((await answer.json()).message);
      text = await answer.text();
      error = "";
    } catch (failure) {
      error = `The log could not be read: ${failure.message}`;
    }
    if (!dialog.open || dialog.querySelector("form")?.key !== `log ${pod}`) return;
    draw();
    const pre = dialog.querySelector("pre");
    if (pre) pre.scrollTop = pre.scrollHeight;
  };
  draw();
  dialog.showModal();
  read();
}

// Ask, then send, then show how it goes; returns what draws the dialog again.
function confirm({ deployment, path, title, action, content, body = () => ({}), allowed = () => true }) {
  let number = null;
  let change = null;
  let error = "";
  const send = async (event) => {
    event.preventDefault();
    number = 0;
    error = "";
    draw();
    try {
      const answer = await fetch(`/api/deployments/${encodeURIComponent(deployment.name)}/${path}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ generation: deployment.generation, ...body() }),
      });
      const told = await answer.json();
      if (!answer.ok) throw new Error(told.message);
      number = told.number;
    } catch (failure) {
      number = null;
      error = failure.message;
    }
    draw();
    focusClose();
  };
  const focusClose = () => dialog.querySelector("button.close")?.focus();
  const draw = () => {
    const mine = change && number && change.number === number ? change : null;
    const sent = number !== null;
    const over = mine && mine.state !== "running";
    render(dialog,
      h("form", { method: "dialog", onsubmit: sent || error ? null : send, key: path },
        h("h2", { id: "dialog-title" }, title),
        !sent && !error ? content() : h("p", { class: "consequence" }, mine?.summary ?? ""),
        sent && h("div", { role: "status", class: "progress", key: "progress" },
          h("ol", {}, (mine?.steps ?? []).map((step, i, { length }) =>
            h("li", { key: i, class: i === length - 1 && !over ? "now" : "past" }, step))),
          !over && h("p", { class: "quiet" }, "Under way …"),
          mine?.state === "done" && h("p", { class: "success" }, "Done. It is in force.")),
        (error || mine?.state === "failed") && h("p", { class: "failure", role: "alert", key: "failure" },
          h("b", {}, "Not done. "), error || mine.error),
        h("p", { class: "buttons" },
          h("button", { type: "button", key: "close", class: "close", onclick: () => dialog.close() },
            sent || error ? "Close" : "Cancel"),
          !sent && !error && h("button", { type: "submit", key: "go", class: "main", disabled: !allowed() }, action))));
  };
  onChange = (latest) => {
    change = latest;
    if (number) draw();
  };
  draw();
  dialog.showModal();
  return { draw };
}

// Give one variant its weight, and the rest to the others in the proportion they had.
function balance(weights, name, wanted) {
  const weight = Math.min(Math.max(Math.round(wanted), 0), WHOLE);
  const others = Object.keys(weights).filter((each) => each !== name);
  const had = others.reduce((sum, each) => sum + weights[each], 0);
  let left = WHOLE - weight;
  weights[name] = weight;
  others.forEach((each, index) => {
    const part = had ? weights[each] / had : 1 / others.length;
    const given = index === others.length - 1 ? left : Math.min(left, Math.round((WHOLE - weight) * part));
    weights[each] = given;
    left -= given;
  });
}
