// Where news arrive and the page is drawn.

import { onCursorMoved } from "./chart.js";
import * as detail from "./detail.js";
import { askPromote, askRollback, askWeights, changed, showLog } from "./dialogs.js";
import { h, render } from "./dom.js";
import { time } from "./format.js";
import { isEmpty, list, nothing } from "./list.js";
import { Stream } from "./stream.js";

const NARROW = window.matchMedia("(max-width: 859px)");

const element = Object.fromEntries(
  ["top", "banner", "list", "main", "announcer"].map((id) => [id, document.getElementById(id)]),
);
const news = {};
let connection = "lost";
let selected = "";
let planned = false;

const stream = new Stream(
  (kind, value) => {
    announce(kind, news[kind], value);
    news[kind] = value;
    if (kind === "change") changed(value);
    if (kind === "namespace") select();
    plan();
  },
  (told) => {
    connection = told;
    plan();
  },
);

window.addEventListener("hashchange", () => {
  select();
  window.scrollTo(0, 0);
  element.main.focus({ preventScroll: true });
});
NARROW.addEventListener("change", select);
onCursorMoved(plan);
stream.follow(asked());

function asked() {
  try {
    return decodeURIComponent(location.hash.replace(/^#\/?/, ""));
  } catch {
    return "";
  }
}

// The deployment in the address; else the only one, or on a wide page the first.
function select() {
  const names = (news.namespace?.deployments ?? []).map(({ name }) => name);
  const alone = names.length === 1 || !NARROW.matches ? names[0] : undefined;
  const name = asked() || alone || "";
  if (name !== selected) {
    selected = name;
    for (const kind of ["deployment", "change", "charts", "experiment"]) delete news[kind];
  }
  stream.follow(selected);
  plan();
}

function plan() {
  if (planned) return;
  planned = true;
  requestAnimationFrame(() => {
    planned = false;
    draw();
  });
}

function draw() {
  const { namespace, deployment, tick } = news;
  if (!namespace) {
    render(element.banner, warning());
    return;
  }
  const now = Date.now() / 1000;
  const several = namespace.deployments.length > 1;
  document.title = deployment ? `${deployment.name} · abserve` : "abserve";
  document.body.classList.toggle("detail", Boolean(selected));
  document.body.classList.toggle("several", several);
  render(element.top,
    h("p", { class: "brand" }, h("a", { href: "#/" }, "abserve")),
    h("p", { class: "place" }, h("b", {}, namespace.namespace), h("span", { class: "quiet server" }, ` ${namespace.server}`)),
    h("p", { class: `live ${alive() ? "good" : "bad"}` },
      h("span", { class: "dot", "aria-hidden": "true" }),
      alive() ? "live" : "waiting", h("span", { class: "quiet" }, tick?.at ? ` ${time(tick.at)}` : "")));
  render(element.banner, warning());
  render(element.list, several && list(namespace, selected, plan));
  render(element.main, ...content(namespace, deployment, now));
}

function content(namespace, deployment, now) {
  if (isEmpty(namespace)) return [nothing(namespace)];
  const back = h("p", { class: "back", key: "back" }, h("a", { href: "#/" }, "‹ All SeldonDeployments"));
  if (deployment) {
    const actions = {
      weights: () => askWeights(news.deployment),
      promote: () => askPromote(news.deployment),
      rollback: () => askRollback(news.deployment),
    };
    return [
      back,
      detail.heading(deployment, now),
      detail.split(deployment, news.change, actions),
      detail.comparison(deployment),
      news.charts && detail.charts(news.charts, news.tick?.at ?? now),
      news.experiment && detail.experiment(news.experiment, deployment),
      detail.drift(deployment),
      detail.pods(deployment, now, showLog),
      detail.events(deployment, now),
      detail.conditions(deployment),
    ];
  }
  if (selected && namespace.known && news.deployment === null) {
    return [back, h("h1", { key: "gone" }, `There is no ${selected}`),
      h("p", { key: "gone-why" }, `The namespace ${namespace.namespace} holds no SeldonDeployment of this name; it may have been deleted.`)];
  }
  return [h("p", { class: "quiet", key: "asking" }, selected || !namespace.known ? "Asking the cluster …" : "")];
}

function alive() {
  return connection === "open" && !news.tick?.away;
}

function warning() {
  const since = news.tick?.at ? ` since ${time(news.tick.at)}` : "";
  const shown = news.tick?.at ? " What is shown was true then." : "";
  if (connection === "denied") {
    return h("p", {}, h("b", {}, "This page is no longer signed in. "),
      "Open the whole URL that abserve up or abserve console printed when it was started last.");
  }
  if (connection === "lost" && news.tick) {
    return h("p", {}, h("b", {}, `The console does not answer${since}.`), `${shown} It is asked again every few seconds.`);
  }
  if (news.tick?.away) {
    return h("p", {}, h("b", {}, `The cluster is away${since}.`), `${shown} It is asked again all the time: ${news.tick.away}`);
  }
  return null;
}

// Said aloud: changes of state, and not every number.
function announce(kind, before, value) {
  let told = "";
  if (kind === "deployment" && before && value && before.name === value.name && before.state !== value.state) {
    told = `${value.name} is ${value.state}`;
  }
  if (kind === "change" && value && before?.state === "running" && value.state !== "running") {
    told = `${value.summary}: ${value.state === "done" ? "done" : `not done. ${value.error}`}`;
  }
  if (kind === "tick" && before?.away && !value.away) told = "The cluster answers again";
  if (told) element.announcer.textContent = told;
}
