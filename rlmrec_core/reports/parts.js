"use strict";
const content = JSON.parse(document.getElementById("content").textContent);
const by = id => document.getElementById(id);
/* Text becomes text, whatever it holds: no HTML is ever made from data. */
function make(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  if (className) node.className = className;
  return node;
}
function shown(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number" || Number.isInteger(value)) return String(value);
  const short = Number(value.toPrecision(4));
  return Math.abs(short) < 1e-3 ? short.toExponential() : String(short);
}
/* Rows of texts, numbers and nodes; columns with a number in any row stand at the right. It scrolls where it is wide. */
function table(columns, rows) {
  const frame = make("div", null, "wide"), whole = make("table"), head = whole.createTHead().insertRow(), body = whole.createTBody();
  const numeric = columns.map((_, at) => rows.some(row => typeof row[at] === "number"));
  columns.forEach((name, at) => { const cell = make("th", name, numeric[at] ? "number" : ""); cell.scope = "col"; head.append(cell); });
  for (const row of rows) {
    const line = body.insertRow();
    row.forEach((value, at) => {
      const cell = line.insertCell();
      if (value instanceof Node) cell.append(value); else cell.textContent = shown(value);
      if (numeric[at]) cell.className = "number";
    });
  }
  frame.append(whole);
  return frame;
}
const SPACE = "http://www.w3.org/2000/svg";
/* An empty picture of that size in its own units, and what adds a shape or a word to it. */
function drawing(width, height, label) {
  const picture = document.createElementNS(SPACE, "svg");
  picture.setAttribute("viewBox", "0 0 " + width + " " + height); picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", label);
  const add = (tag, attributes, text) => {
    const node = document.createElementNS(SPACE, tag);
    for (const name in attributes) node.setAttribute(name, attributes[name]);
    if (text !== undefined) node.textContent = text;
    picture.append(node);
    return node;
  };
  return [picture, add];
}
