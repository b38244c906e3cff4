// One SeldonDeployment, from what is configured to what follows from it.

import { chart } from "./chart.js";
import { h } from "./dom.js";
import {
  UNKNOWN, age, count, decimal, milliseconds, moment, plural, points, rate, share, time,
} from "./format.js";
import { state } from "./list.js";

const QUARTER_SECONDS = 900;
const LITTLE = 0.1;
const MODERATE = 0.25;

export const tone = ({ role }, index) =>
  ["baseline", "candidate", "shadow"].includes(role) ? role : `other${index % 3}`;

// Lines may break after a slash, and copying it copies nothing else.
function uri(text) {
  return h("code", { class: "uri" }, text.split("/").map((part, i) => (i ? ["/", h("wbr", {}), part] : part)));
}

export function heading(deployment, now) {
  return h("header", { class: "title", key: "title" },
    h("div", {}, h("h1", {}, deployment.name), state(deployment.state)),
    h("p", { class: "quiet" },
      [deployment.model && `model ${deployment.model}`, `generation ${deployment.generation}`,
        `${age(deployment.created, now)} old`].filter(Boolean).join(" · ")),
    deployment.address && h("p", { class: "address" },
      h("span", { class: "quiet" }, "inference requests to "), uri(deployment.address)),
    deployment.message && h("p", { class: "message" }, deployment.message),
    deployment.fault && h("p", { class: "message" },
      `This SeldonDeployment cannot be shown in full: ${deployment.fault}`));
}

export function split(deployment, change, actions) {
  const variants = deployment.predictors.filter(({ shadow }) => !shadow);
  const busy = change?.state === "running";
  const candidate = variants.find(({ name }) => name === deployment.candidate);
  const observed = variants.some((each) => each.share !== null);
  const bar = (kind, part) => h("div", { class: `bar ${kind}`, "aria-hidden": "true" },
    variants.map((each, i) =>
      h("span", { key: each.name, class: tone(each, i), style: { "flex-grow": String(part(each)) } })));
  return h("section", { key: "split", class: "split-section", "aria-labelledby": "split" },
    h("h2", { id: "split" }, "Weights"),
    h("div", { class: "shares" }, variants.map((each, i) =>
      h("div", { key: each.name, class: tone(each, i) },
        h("p", { class: "who" }, each.name, " ", h("span", { class: "quiet" }, each.version ?? "")),
        h("p", { class: "big" }, each.weight, h("small", {}, " %"))))),
    bar("configured", ({ weight }) => weight),
    observed && bar("observed", (each) => each.share),
    h("p", { class: "quiet" }, observed
      ? `Of ${plural(variants[0].n_shared, "request")} since ${time(deployment.weights_since)}, ` +
        `${variants.map((each) => `${share(each.share)} went to ${each.name}`).join(", ")}.`
      : `No requests since ${time(deployment.weights_since)}.`),
    variants.length > 1 && h("p", { class: "buttons" },
      h("button", { type: "button", key: "weights", disabled: busy, onclick: actions.weights }, "Set weights"),
      candidate && h("button", { type: "button", key: "promote", disabled: busy, onclick: actions.promote },
        `Promote ${candidate.name}`),
      candidate && h("button", {
        type: "button", key: "rollback", disabled: busy || (candidate.weight === 0 && serves(candidate)), onclick: actions.rollback,
      }, "Roll back")),
    change && h("p", { class: `change ${change.state}`, key: "change" },
      h("b", {}, { running: "Under way: ", done: "Done: ", failed: "Not done: " }[change.state]),
      change.summary,
      change.state === "running" && change.steps.length > 0 && ` (${change.steps.at(-1)})`,
      change.state === "failed" && `. ${change.error}`));
}

function serves({ n_ready: ready, n_wanted: wanted }) {
  return ready > 0 && ready >= wanted;
}

export function comparison(deployment) {
  const all = deployment.predictors;
  const row = (label, unit, value) =>
    h("tr", { key: label },
      h("th", { scope: "row" }, label, unit && h("small", {}, ` ${unit}`)),
      all.map((each) => h("td", { key: each.name }, value(each))));
  const beside = (main, more) => [main, more && h("small", {}, more)];
  return h("section", { key: "comparison", "aria-labelledby": "comparison" },
    h("h2", { id: "comparison" }, "Predictors"),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "comparison" },
      h("table", { class: "comparison" },
        h("thead", {}, h("tr", {}, h("td", {}),
          all.map((each, i) => h("th", { scope: "col", key: each.name, class: tone(each, i) },
            each.name, each.role && each.role !== each.name && h("small", {}, each.role))))),
        h("tbody", {},
          row("Version", "", (each) => each.version ?? UNKNOWN),
          row("Model", "", (each) => uri(each.model_uri)),
          row("Weight", "", (each) => each.shadow ? beside(`${each.weight} %`, "copies") : `${each.weight} %`),
          row("Observed", "", (each) => share(each.share)),
          row("Ready", "", (each) => `${each.n_ready} of ${each.n_wanted}`)),
        h("tbody", {},
          row("Requests", "/s", (each) => beside(rate(each.rate), `${count(each.n_requests)} in all`)),
          row("Rejected", "4xx", (each) => beside(share(each.rejected), `${count(each.n_rejected)} in all`)),
          row("Failed", "5xx", (each) => beside(share(each.failed), `${count(each.n_failed)} in all`)),
          row("p50", "ms", (each) => milliseconds(each.p50)),
          row("p90", "ms", (each) => milliseconds(each.p90)),
          row("p99", "ms", (each) => milliseconds(each.p99))),
        h("tbody", {},
          row("Accuracy", "", (each) =>
            beside(share(each.accuracy), each.n_feedback ? `of ${plural(each.n_feedback, "label")}` : "no labels")),
          row("Drift", "largest", (each) => {
            const [feature, index] = largest(each.drift);
            return index === undefined ? UNKNOWN : beside(decimal(index), feature);
          })))),
    h("p", { class: "note" },
      "Rates, shares and times are of the last minute; “in all”, accuracy and drift are what the running replicas report."),
    all.flatMap(({ unread }) => unread).map((each) => h("p", { class: "message", key: each }, each)));
}

export function charts(data, now) {
  const from = now - QUARTER_SECONDS;
  const common = { from, to: now, ends: ["15 min ago", "now"] };
  const of = (pick, more = {}) => data.predictors.map((each, i) => ({
    name: each.name,
    tone: tone(each, i),
    points: each.points.filter(({ at }) => at >= from).map((point) => ({ at: point.at, value: pick(point) })),
    ...more,
  }));
  const named = (series, suffix) => series.map((each) => ({ ...each, name: `${each.name} ${suffix}` }));
  const accuracy = of((point) => point.accuracy);
  const known = accuracy.flatMap((each) => each.points.map(({ value }) => value)).filter((value) => value !== null);
  const lowest = known.length ? Math.min(...known) : 0.9;
  const perMinute = "over the minute before";
  return h("section", { key: "charts", "aria-labelledby": "charts" },
    h("h2", { id: "charts" }, "The last 15 minutes"),
    h("div", { class: "charts" },
      chart({ ...common, id: "rate", title: "Requests per second", note: `over ${data.point_seconds} s`,
        series: of((point) => point.rate), format: rate }),
      chart({ ...common, id: "latency", title: "Latency, ms", note: perMinute,
        series: [...named(of((point) => point.p50, { faint: true }), "p50"), ...named(of((point) => point.p99), "p99")],
        format: milliseconds }),
      chart({ ...common, id: "errors", title: "Errors", note: perMinute,
        series: [...named(of((point) => point.rejected, { faint: true }), "rejected"), ...named(of((point) => point.failed), "failed")],
        format: share }),
      chart({ ...common, id: "accuracy", title: "Accuracy", note: perMinute,
        series: accuracy, format: share, domain: [Math.max(0, Math.floor(lowest * 10 - 0.001) / 10), 1] })));
}

export function drift(deployment) {
  const all = deployment.predictors.filter((each) => each.drift);
  const features = [...new Set(all.flatMap((each) => Object.keys(each.drift.by_feature)))];
  return h("section", { key: "drift", "aria-labelledby": "drift" },
    h("h2", { id: "drift" }, "Drift"),
    !features.length
      ? h("p", { class: "quiet" }, "Not known: it takes 100 answered rows of a version that describes its training data.")
      : h("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "drift" },
        h("table", { class: "drift" },
          h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Feature"),
            all.map((each, i) => h("th", { scope: "col", key: each.name, class: tone(each, i) },
              each.version ?? each.name, h("small", {}, `${count(each.drift.n_rows)} rows`))))),
          h("tbody", {}, features.map((feature) =>
            h("tr", { key: feature }, h("th", { scope: "row" }, h("code", {}, feature)),
              all.map((each, i) => h("td", { key: each.name },
                driftBar(each.drift.by_feature[feature], tone(each, i))))))))),
    h("p", { class: "note" },
      "Population stability index of the latest rows against those the version was fitted on: ",
      "up to 0.1 little, up to 0.25 moderate, above that significant."));
}

function driftBar(index, kind) {
  if (index === undefined) return UNKNOWN;
  const word = index <= LITTLE ? "little" : index <= MODERATE ? "moderate" : "significant";
  const width = Math.min(index / (2 * MODERATE), 1) * 100;
  return h("div", { class: "index" },
    h("b", {}, decimal(index)), h("span", { class: `word ${word}` }, word),
    h("span", { class: `meter ${kind}`, "aria-hidden": "true" }, h("span", { style: { width: `${width}%` } })));
}

function largest(found) {
  const sorted = Object.entries(found?.by_feature ?? {}).sort(([, a], [, b]) => b - a);
  return sorted[0] ?? [undefined, undefined];
}

export function experiment(data, deployment) {
  return h("section", { key: "experiment", "aria-labelledby": "experiment" },
    h("h2", { id: "experiment" }, "Evidence"), evidence(data, deployment));
}

function evidence(data, deployment) {
  if (!deployment.candidate) {
    return h("p", { class: "quiet" }, "There is nothing to compare: evidence takes a baseline and a candidate.");
  }
  if (!data.versions) {
    return h("p", { class: "quiet" }, "It begins when both variants say which versions they serve, and these differ.");
  }
  const [baseline, candidate] = data.versions;
  const since = `since ${time(data.began)}`;
  const labels = `${plural(data.n_baseline, "label")} of ${baseline} and ${count(data.n_candidate)} of ${candidate} ${since}`;
  const last = data.points.at(-1);
  if (!last || last.effect === null) {
    return h("p", { class: "quiet" }, `Nothing can be said yet: ${labels}. It takes ground truth for both, sent as feedback.`);
  }
  const reached = last.better >= data.bar ? "better" : last.worse >= data.bar ? "worse" : null;
  const range = last.lower === null
    ? "no single difference fits what was seen: it changes over time"
    : `with ${100 - data.alpha * 100} % confidence it is between ${points(last.lower)} and ${points(last.upper)}, however often one looks`;
  const common = {
    from: data.began, to: Math.max(last.at, data.began + 60),
    ends: [time(data.began), time(last.at)],
  };
  const series = (name, kind, pick) => ({ name, tone: kind, points: data.points.map((each) => ({ at: each.at, ...pick(each) })) });
  const reach = Math.min(1, 0.05 * Math.ceil(Math.max(...data.points.map((each) => Math.abs(each.effect ?? 0)), Math.abs(last.lower ?? 0), Math.abs(last.upper ?? 0), 0.05) / 0.05));
  const mismatch = data.sample_ratio >= data.sample_ratio_bar;
  return [
    mismatch && h("p", { class: "message", key: "mismatch" },
      "The requests did not arrive in the configured weights ",
      `(evidence ${decimal(data.sample_ratio, 1)} of ${decimal(data.sample_ratio_bar, 1)} nats). `,
      "Find out why before you read the difference; where units stick to a variant, a few busy ones can be the cause."),
    h("p", { class: "finding", key: "finding" },
      `${candidate} minus ${baseline}: `, h("b", {}, `${points(last.effect)} points of accuracy`), `; ${range}. `,
      reached
        ? h("b", {}, `The evidence that ${candidate} is ${reached} has reached its bar.`)
        : `Neither is shown to be better yet.`),
    h("div", { class: "charts" },
      chart({ ...common, id: "effect", title: "Difference in accuracy, points", note: `${candidate} minus ${baseline}, with its confidence sequence`,
        series: [series("difference", "candidate", (each) => ({ value: each.effect, low: each.lower, high: each.upper }))],
        format: (value) => points(value), domain: [-reach, reach] }),
      chart({ ...common, id: "evidence", title: "Evidence, nats", note: "logarithm of the e-process, after each block",
        series: [
          series(`${candidate} is better`, "candidate", (each) => ({ value: each.better })),
          series(`${candidate} is worse`, "baseline", (each) => ({ value: each.worse })),
        ],
        marks: [{ value: data.bar, label: `ln(1/${data.alpha}) = ${decimal(data.bar, 1)}` }],
        format: decimal })),
    h("p", { class: "note" },
      `${labels}, by the interval of ${data.block_seconds} s in which they arrived; an interval in which the weights changed is left out. `,
      mismatch ? "" : "Requests arrive in the configured weights. ",
      "This is what the console has seen since it was started; whether to promote is for you to decide."),
  ];
}

export function pods(deployment, now, openLog) {
  return h("section", { key: "pods", "aria-labelledby": "pods" },
    h("h2", { id: "pods" }, "Pods"),
    !deployment.pods.length && h("p", { class: "quiet" }, "There are none."),
    h("ul", { class: "rows pods" }, deployment.pods.map((pod) =>
      h("li", { key: pod.name },
        h("code", { class: "main" }, pod.name),
        h("span", { class: `state small ${pod.ready ? "good" : pod.status === "Running" || pod.n_restarts === 0 ? "busy" : "bad"}` },
          h("span", { class: "dot", "aria-hidden": "true" }), pod.status),
        h("span", { class: "quiet" },
          [pod.predictor, plural(pod.n_restarts, "restart"), age(pod.created, now)].filter(Boolean).join(" · ")),
        h("button", { type: "button", class: "plain", "aria-label": `Log of ${pod.name}`, onclick: () => openLog(pod.name) }, "Log"),
        pod.message && h("p", { class: "message" }, pod.message)))));
}

export function events(deployment, now) {
  return h("section", { key: "events", "aria-labelledby": "events" },
    h("h2", { id: "events" }, "Events"),
    !deployment.events.length && h("p", { class: "quiet" }, "None are known."),
    h("ul", { class: "rows events" }, deployment.events.map((each) =>
      h("li", { key: `${each.about} ${each.reason} ${each.message}`, class: each.severity === "Warning" ? "warning" : "" },
        h("time", { datetime: each.at, title: moment(each.at) }, age(each.at, now)),
        h("span", { class: "reason" }, each.reason, each.count > 1 && h("small", {}, ` ×${count(each.count)}`)),
        h("span", { class: "told" }, each.message)))));
}

export function conditions(deployment) {
  return h("section", { key: "conditions", "aria-labelledby": "conditions" },
    h("h2", { id: "conditions" }, "Conditions"),
    h("ul", { class: "rows conditions" }, deployment.conditions.map((each) =>
      h("li", { key: each.type },
        h("span", { class: `state small ${each.status === "True" ? "good" : "busy"}` },
          h("span", { class: "dot", "aria-hidden": "true" }), each.type, h("span", { class: "unseen" }, `: ${each.status}`)),
        h("span", { class: "told quiet" }, [each.reason, each.message].filter(Boolean).join(": ")),
        h("time", { class: "quiet", datetime: each.since }, moment(each.since))))));
}
