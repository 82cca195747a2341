// Elements from values. Everything becomes text or an attribute, never markup: much of it was
// written by strangers.

const SVG = "http://www.w3.org/2000/svg";

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

/** An HTML element. */
export const h = (tag, attributes, ...children) =>
  build(document.createElement(tag), attributes, children);

/** An SVG element. */
export const s = (tag, attributes, ...children) =>
  build(document.createElementNS(SVG, tag), attributes, children);

/** A figure of the API with the value it stands for, so that a program can read it too. */
export const figure = (value, text, attributes) =>
  value === null || value === undefined
    ? h("span", { class: "none" }, "–")
    : h("data", { value, ...attributes }, text);

/** A table. Columns are [header, row => cell, class]. */
export function table(caption, columns, rows, attributes) {
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h("table", attributes,
      h("caption", { class: "unseen" }, caption),
      h("thead", null, h("tr", null, columns.map(([header, , kind]) =>
        h("th", { scope: "col", class: kind }, header)))),
      h("tbody", null, rows.map((row, index) => h("tr", { class: row.rowClass }, columns.map(([, cell, kind]) =>
        h("td", { class: kind }, cell(row, index))))))));
}

/** A link that is not part of the text: a file to keep. */
export const csvLink = (name, columns, rows) => {
  const cell = (value) => (/[",\n]/.test(String(value ?? "")) ? `"${String(value).replaceAll('"', '""')}"` : String(value ?? ""));
  const text = [columns.map(([header]) => header), ...rows.map((row) => columns.map(([, value]) => value(row)))].map((line) => line.map(cell).join(",")).join("\r\n");
  return h("a", { href: `data:text/csv;charset=utf-8,${encodeURIComponent(text)}`, download: document.querySelector("p.demo") ? name.replace("assay-", "assay-DEMO-") : name }, "CSV");
};

/** A chart with the sentence and the table that say the same. */
export function chart(title, drawing, sentence, details) {
  return h("figure", { class: "chart" },
    h("h2", null, title), drawing,
    h("figcaption", null, sentence),
    details && h("details", null, h("summary", null, "As a table"), details));
}
