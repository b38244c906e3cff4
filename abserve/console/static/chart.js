// Lines over time: drawn in SVG, read with the pointer, the arrow keys, or as a table.
//
// All charts of a page share one cursor, a moment, so that what happened at once is seen at once.

import { h } from "./dom.js";
import { time } from "./format.js";

const WIDTH = 600;
const HEIGHT = 150;

let cursor = null;
let redraw = () => {};
const opened = new Set();

export function onCursorMoved(callback) {
  redraw = callback;
}

// domain: [low, high], or what the values need from 0 on
// series: [{ name, tone, faint, points: [{ at, value, low, high }] }]; marks: [{ value, label }]
export function chart({ id, title, note, from, to, series, format, marks = [], domain, ends }) {
  const moments = [...new Set(series.flatMap((each) => each.points.map(({ at }) => at)))].sort(
    (a, b) => a - b,
  );
  const scale = domain ? scaleBetween(...domain) : scaleOf(series, marks);
  const index = nearest(moments, cursor ?? to);
  const at = moments[index];
  const x = (moment) => ((moment - from) / Math.max(to - from, 1)) * WIDTH;
  const y = (value) => {
    const part = (value - scale.low) / (scale.high - scale.low);
    return HEIGHT * (1 - Math.min(Math.max(part, 0), 1));
  };
  const read = (each, moment) => format(each.points.find((point) => point.at === moment)?.value);
  const spoken = at === undefined ? "nothing yet" : `${time(at)}: ${series
    .map((each) => `${each.name} ${read(each, at)}`)
    .join(", ")}`;
  const move = (moment) => {
    if (moment === cursor) return;
    cursor = moment;
    redraw();
  };

  return h("figure", { class: "chart", key: id },
    h("figcaption", {},
      h("h3", { id: `${id}-title` }, title),
      note && h("p", { class: "note" }, note),
      h("ul", { class: "legend" }, series.map((each) =>
        h("li", { key: each.name, class: each.tone },
          h("span", { class: each.faint ? "swatch faint" : "swatch", "aria-hidden": "true" }),
          h("span", { class: "series" }, each.name), " ",
          h("b", {}, at === undefined ? "–" : read(each, at))))),
    ),
    h("div", {
      class: "plot",
      role: "slider",
      tabindex: "0",
      "aria-labelledby": `${id}-title`,
      "aria-orientation": "horizontal",
      "aria-valuemin": 0,
      "aria-valuemax": Math.max(moments.length - 1, 0),
      "aria-valuenow": Math.max(index, 0),
      "aria-valuetext": spoken,
      onpointermove: (event) => {
        const box = event.currentTarget.getBoundingClientRect();
        const moment = from + ((event.clientX - box.left) / box.width) * (to - from);
        move(moments[nearest(moments, moment)] ?? null);
      },
      onpointerleave: () => move(null),
      onblur: () => move(null),
      onkeydown: (event) => {
        const target = {
          ArrowLeft: index - 1, ArrowRight: index + 1, ArrowDown: index - 1, ArrowUp: index + 1,
          Home: 0, End: moments.length - 1, PageDown: index - 6, PageUp: index + 6,
        }[event.key];
        if (event.key === "Escape") move(null);
        if (target === undefined || !moments.length) return;
        event.preventDefault();
        move(moments[Math.min(Math.max(target, 0), moments.length - 1)]);
      },
    },
      h("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
        scale.ticks.map((tick) =>
          h("line", { key: `g${tick}`, class: "grid", x1: 0, x2: WIDTH, y1: y(tick), y2: y(tick) })),
        series.filter(({ points }) => points.some(({ low }) => low !== undefined)).map((each) =>
          h("path", { key: `b${each.name}`, class: `band ${each.tone}`, d: band(each.points, x, y) })),
        marks.map((mark) =>
          h("line", { key: `m${mark.label}`, class: "mark", x1: 0, x2: WIDTH, y1: y(mark.value), y2: y(mark.value) })),
        series.map((each, i) =>
          h("path", {
            key: `l${i}`, class: `line ${each.tone}${each.faint ? " faint" : ""}`, d: line(each.points, x, y),
          })),
        cursor !== null && at !== undefined &&
          h("line", { key: "cursor", class: "cursor", x1: x(at), x2: x(at), y1: 0, y2: HEIGHT })),
      h("div", { class: "ticks", "aria-hidden": "true" }, scale.ticks.map((tick) =>
        h("span", { key: tick, style: { top: `${(y(tick) / HEIGHT) * 100}%` } }, short(format(tick))))),
      marks.filter(({ label }) => label).map((mark) =>
        h("span", {
          key: mark.label, class: "mark-label", "aria-hidden": "true",
          style: { top: `${(y(mark.value) / HEIGHT) * 100}%` },
        }, mark.label))),
    h("div", { class: "ends", "aria-hidden": "true" },
      h("span", {}, ends?.[0] ?? time(from)),
      h("span", { class: "at" }, cursor !== null && at !== undefined ? time(at) : ""),
      h("span", {}, ends?.[1] ?? "now")),
    table(id, title, moments, series, read));
}

function table(id, title, moments, series, read) {
  const toggle = (event) => {
    if (event.target.open) opened.add(id);
    else opened.delete(id);
    redraw();
  };
  return h("details", { class: "values", ontoggle: toggle },
    h("summary", {}, "Values", h("span", { class: "unseen" }, ` of ${title}`)),
    opened.has(id) && h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Values of ${title}` },
      h("table", {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Time"),
          series.map((each) => h("th", { scope: "col", key: each.name }, each.name)))),
        h("tbody", {}, [...moments].reverse().map((at) =>
          h("tr", { key: at }, h("th", { scope: "row" }, time(at)),
            series.map((each) => h("td", { key: each.name }, read(each, at)))))))));
}

function nearest(moments, moment) {
  let found = -1;
  moments.forEach((each, index) => {
    if (found < 0 || Math.abs(each - moment) < Math.abs(moments[found] - moment)) found = index;
  });
  return found;
}

function line(points, x, y) {
  let pen = "M";
  let path = "";
  for (const { at, value } of points) {
    if (value === null || value === undefined) pen = "M";
    else {
      path += `${pen}${x(at).toFixed(1)} ${y(value).toFixed(2)}`;
      pen = "L";
    }
  }
  return path;
}

function band(points, x, y) {
  const known = points.filter(({ low, high }) => low !== null && high !== null);
  if (!known.length) return "";
  const there = known.map(({ at, high }) => `${x(at).toFixed(1)} ${y(high).toFixed(2)}`);
  const back = known.map(({ at, low }) => `${x(at).toFixed(1)} ${y(low).toFixed(2)}`).reverse();
  return `M${there.join("L")}L${back.join("L")}Z`;
}

// From a round number to a round number, with a line in the middle or at zero.
function scaleOf(series, marks) {
  const values = [
    0,
    ...marks.map(({ value }) => value),
    ...series.flatMap(({ points }) => points.map(({ value }) => value)),
  ].filter((value) => value !== null && value !== undefined);
  const top = Math.max(...values);
  const bottom = Math.min(...values);
  if (bottom < 0) {
    const step = round(Math.max(top, -bottom) / 2);
    const low = -Math.ceil(-bottom / step) * step;
    const high = Math.max(Math.ceil(top / step) * step, step);
    return { low, high, ticks: [...new Set([low, 0, high])] };
  }
  return scaleBetween(0, top > 0 ? round(top) : 1);
}

function scaleBetween(low, high) {
  return { low, high, ticks: [low, (low + high) / 2, high] };
}

const short = (text) => text.replace(/\.0+(?!\d)/, "");

function round(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 3, 4, 5, 6, 8, 10].map((each) => each * power).find((each) => each >= value * 0.999);
}
