// The page is drawn from values: `h` says what should stand there, `render` changes what differs.
// Elements that stay keep their focus, selection and scroll position. Text only ever becomes text
// nodes and attributes, so nothing a cluster says is read as HTML.

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "disabled"]);

export function h(tag, properties, ...children) {
  return { tag, properties: properties ?? {}, children: flat(children) };
}

export function render(parent, ...wanted) {
  const svg = parent.namespaceURI === SVG && parent.tagName !== "foreignObject";
  const keyed = new Map();
  const unkeyed = [];
  for (const node of parent.childNodes) {
    if (node.key === undefined) unkeyed.push(node);
    else keyed.set(node.key, node);
  }
  let place = parent.firstChild;
  for (const each of flat(wanted)) {
    const node = reuse(each, keyed, unkeyed) ?? create(each, svg);
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
    update(node, each);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function flat(children) {
  return children
    .flat(Infinity)
    .filter((each) => each !== null && each !== undefined && each !== false)
    .map((each) => (typeof each === "object" ? each : String(each)));
}

function reuse(wanted, keyed, unkeyed) {
  if (typeof wanted === "string") {
    return take(unkeyed, (node) => node.nodeType === Node.TEXT_NODE);
  }
  const key = wanted.properties.key;
  if (key === undefined) return take(unkeyed, (node) => node.localName === wanted.tag);
  const node = keyed.get(key);
  keyed.delete(key);
  return node?.localName === wanted.tag ? node : undefined;
}

function take(nodes, fits) {
  const index = nodes.findIndex(fits);
  return index < 0 ? undefined : nodes.splice(index, 1)[0];
}

function create(wanted, svg) {
  if (typeof wanted === "string") return document.createTextNode("");
  const node =
    svg || wanted.tag === "svg"
      ? document.createElementNS(SVG, wanted.tag)
      : document.createElement(wanted.tag);
  node.key = wanted.properties.key;
  return node;
}

function update(node, wanted) {
  if (typeof wanted === "string") {
    if (node.data !== wanted) node.data = wanted;
    return;
  }
  const before = node.drawn ?? {};
  const now = wanted.properties;
  for (const name of Object.keys(before)) {
    if (!(name in now)) set(node, name, undefined, before[name]);
  }
  for (const [name, value] of Object.entries(now)) set(node, name, value, before[name]);
  node.drawn = now;
  render(node, ...wanted.children);
}

function set(node, name, value, before) {
  if (name === "key") return;
  if (name.startsWith("on")) {
    node[name] = value ?? null;
  } else if (name === "style") {
    // Through the object model: a style attribute is what the content security policy forbids.
    for (const property of Object.keys(before ?? {})) {
      if (!(property in (value ?? {}))) node.style.removeProperty(property);
    }
    for (const [property, each] of Object.entries(value ?? {})) {
      if (node.style.getPropertyValue(property) !== each) node.style.setProperty(property, each);
    }
  } else if (PROPERTIES.has(name)) {
    if (name === "value") {
      // What a person typed stays, unless we want something else than before.
      if (value !== before) node[name] = value;
    } else if (node[name] !== Boolean(value)) node[name] = Boolean(value);
  } else if (value === undefined || value === null || value === false) {
    node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, String(value));
  }
}
