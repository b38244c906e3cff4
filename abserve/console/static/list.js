// The namespace: its SeldonDeployments, or what to type when there are none.

import { h } from "./dom.js";
import { plural, rate } from "./format.js";

const MANY = 8;

let wanted = "";

export const isEmpty = (namespace) => namespace.known && !namespace.deployments.length;

export function list(namespace, selected, redraw) {
  const all = namespace.deployments;
  const shown = all.filter(({ name }) => name.includes(wanted.trim().toLowerCase()));
  return [
    h("h2", {}, "SeldonDeployments ", h("span", { class: "quiet" }, all.length)),
    all.length > MANY && h("input", {
      type: "search", "aria-label": "Find a SeldonDeployment by name", placeholder: "Find by name",
      oninput: (event) => {
        wanted = event.target.value;
        redraw();
      },
    }),
    h("ul", {}, shown.map((each) =>
      h("li", { key: each.name },
        h("a", {
          href: `#/${encodeURIComponent(each.name)}`,
          "aria-current": each.name === selected ? "page" : undefined,
        },
        h("span", { class: "name" }, each.name), " ",
        h("span", { class: "split" }, each.weights.map(({ weight }) => weight).join(" / ")), " ",
        state(each.state, true), " ",
        h("span", { class: "rate" }, `${rate(each.rate)}/s`))))),
    wanted && h("p", { class: "quiet", role: "status" }, `${plural(shown.length, "match", "matches")}`),
  ];
}

export function nothing(namespace) {
  return h("section", { class: "empty", key: "empty" },
    h("h1", {}, "Nothing is served here yet"),
    h("p", {}, "The namespace ", h("b", {}, namespace.namespace),
      " holds no SeldonDeployment. Train two versions of a model, and serve one beside the other:"),
    h("pre", {}, [
      "abserve train iris --version v1",
      "abserve train iris --version v2",
      "kubectl apply -k manifests/overlays/local/iris",
    ].join("\n")),
    h("p", { class: "quiet" }, "It appears on this page by itself."));
}

export function state(name, small) {
  const tone = { Available: "good", Failed: "bad" }[name] ?? "busy";
  return h("span", { class: `state ${tone}${small ? " small" : ""}` },
    h("span", { class: "dot", "aria-hidden": "true" }), name);
}
