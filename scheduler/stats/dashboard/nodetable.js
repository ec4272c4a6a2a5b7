// The nodes as a table. Only the rows in view exist, so that thousands cost no more than dozens.

import { byId, el, reconcile, setAttribute, setText } from "./dom.js";
import { count, percent, span } from "./format.js";
import { jobsOf, loadOf } from "./measures.js";

/** As in the style sheet. */
const ROW_HEIGHT = 38;
const ROWS_AROUND = 6;
const HEIGHT_MAX = 12.5 * ROW_HEIGHT;

/**
 * @typedef {{id: string, label: string, text: (node: any) => string,
 *   sort: (node: any) => string | number, class?: string, title?: string,
 *   bar?: (node: any) => number}} Column
 */
/** @type {Column[]} */
const COLUMNS = [
  { id: "name", label: "Node", text: (node) => node.name, sort: (node) => node.name },
  { id: "status", label: "Status", text: (node) => node.status, sort: (node) => node.status },
  {
    id: "load",
    label: "Jobs",
    title: "Jobs in flight, its own other work included, of its capacity",
    text: (node) => `${count(jobsOf(node))} / ${count(node.capacity)}`,
    sort: loadOf,
    bar: loadOf,
  },
  usage("cpu", "CPU", (node) => node.cpu_percent),
  usage("gpu", "GPU", (node) => node.gpu_percent),
  usage("memory", "Memory", (node) => node.memory_percent),
  {
    id: "services",
    label: "Services",
    title: "Services ready, of those installed",
    class: "figure optional spare",
    text: (node) => `${node.services_ready.length} / ${node.services_installed.length}`,
    sort: (node) => node.services_ready.length - node.services_installed.length,
  },
  {
    id: "gateway",
    label: "Gateway",
    class: "figure optional spare",
    text: (node) => count(node.gateway),
    sort: (node) => node.gateway ?? -1,
  },
  {
    id: "heartbeat",
    label: "Heartbeat",
    title: "Time since its last heartbeat",
    class: "figure optional",
    text: (node) => span(node.heartbeat_age_ms),
    sort: (node) => node.heartbeat_age_ms ?? Infinity,
  },
];

function usage(id, label, of) {
  return { id, label, class: id === "cpu" ? "" : "optional", text: (node) => percent(of(node)), sort: of, bar: of };
}

const collator = new Intl.Collator("en", { numeric: true });

/** Compare two values of one column. */
const compare = (a, b) => (typeof a === "string" ? collator.compare(a, String(b)) : a - b);

/** Return the nodes by name, then id. */
export const byName = (nodes) =>
  [...nodes].sort((a, b) => collator.compare(a.name, b.name) || collator.compare(a.node_id, b.node_id));

export class NodeTable {
  /** @param {(node: any) => void} onOpen */
  constructor(onOpen) {
    this._onOpen = onOpen;
    this._box = byId("table-scroll");
    this._body = byId("node-body");
    this._nodes = [];
    this._sorted = { column: COLUMNS[0], descending: false };
    this._isHeld = false;
    this._makeHead();
    this._box.addEventListener("scroll", () => this._render(), { passive: true });
    this._body.addEventListener("click", (event) => this._open(event.target));
    this._body.addEventListener("keydown", (event) => this._move(event));
    // Rows must not move away under a pointer that is about to click one.
    this._body.addEventListener("pointerenter", () => (this._isHeld = true));
    this._body.addEventListener("pointerleave", () => (this._isHeld = false));
    new ResizeObserver(() => this._render()).observe(this._box);
  }

  /** @param {any[]} nodes those that the filters leave, by name */
  show(nodes) {
    this._nodes = this._isHeld ? inOrderOf(this._nodes, nodes) : this._sort(nodes);
    this._render();
  }

  _makeHead() {
    byId("node-head").append(
      ...COLUMNS.map((column) => {
        const button = el("button", { type: "button", title: column.title ?? null }, column.label);
        button.addEventListener("click", () => this._sortBy(column));
        return el("th", { scope: "col", class: column.class ?? "", "data-column": column.id }, button);
      }),
    );
    this._markHead();
  }

  _sortBy(column) {
    const { column: last, descending } = this._sorted;
    // Names begin with A; of figures the largest matter first.
    const first = !["name", "status", "gateway", "services"].includes(column.id);
    this._sorted = { column, descending: last === column ? !descending : first };
    this._markHead();
    this._nodes = this._sort(byName(this._nodes));
    this._box.scrollTop = 0;
    this._render();
  }

  _markHead() {
    const { column, descending } = this._sorted;
    for (const head of byId("node-head").children) {
      const isSorted = head.dataset.column === column.id;
      setAttribute(head, "aria-sort", isSorted ? (descending ? "descending" : "ascending") : null);
    }
  }

  _sort(nodes) {
    const { column, descending } = this._sorted;
    const sign = descending ? -1 : 1;
    // Equals stay by name: sorting is stable.
    return [...nodes].sort((a, b) => sign * compare(column.sort(a), column.sort(b)));
  }

  _render() {
    const focused = document.activeElement?.closest("#node-body tr")?.dataset.key;
    const total = this._nodes.length;
    const head = this._body.previousElementSibling.offsetHeight;
    this._box.style.height = `${Math.min(HEIGHT_MAX, head + Math.max(1, total) * ROW_HEIGHT + 2)}px`;
    const first = Math.max(0, Math.floor(this._box.scrollTop / ROW_HEIGHT) - ROWS_AROUND);
    const visible = Math.ceil(this._box.clientHeight / ROW_HEIGHT) + 2 * ROWS_AROUND;
    const end = Math.min(total, first + visible);
    setAttribute(byId("node-table"), "aria-rowcount", total + 1);
    reconcile(this._body, this._items(first, end), {
      key: (item) => item.key,
      create: (item) => (item.node ? makeRow() : makeSpace()),
      update: (element, item) => {
        if (item.node) fillRow(element, item.node, item.index);
        else element.firstElementChild.style.height = `${item.height}px`;
      },
    });
    if (focused && !document.activeElement?.closest("#node-body")) {
      this._box.focus({ preventScroll: true });
    }
  }

  /** Rows from `first` up to `end`, between two that take the place of all others. */
  _items(first, end) {
    const rows = this._nodes
      .slice(first, end)
      .map((node, i) => ({ key: `node ${node.node_id}`, node, index: first + i }));
    const below = this._nodes.length - end;
    return [
      ...(first ? [{ key: "above", height: first * ROW_HEIGHT }] : []),
      ...rows,
      ...(below ? [{ key: "below", height: below * ROW_HEIGHT }] : []),
    ];
  }

  _nodeOf(row) {
    return this._nodes[Number(row.getAttribute("aria-rowindex")) - 2];
  }

  _open(target) {
    const row = target.closest("tr[aria-rowindex]");
    if (row) this._onOpen(this._nodeOf(row));
  }

  _move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const row = event.target.closest("tr[aria-rowindex]");
    if (!step || !row) return;
    event.preventDefault();
    const other = step > 0 ? row.nextElementSibling : row.previousElementSibling;
    const button = other?.querySelector("button");
    button?.focus({ preventScroll: true });
    if (button) keepInView(this._box, other);
  }
}

/** Scroll as little as shows the row, below the head that stays. */
function keepInView(box, row) {
  const head = row.parentElement.previousElementSibling.offsetHeight;
  const top = row.offsetTop - head;
  const bottom = row.offsetTop + row.offsetHeight;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
}

/** Return `nodes` in the order that `before` had them; those not there before come last. */
function inOrderOf(before, nodes) {
  const left = new Map(nodes.map((node) => [node.node_id, node]));
  const kept = [];
  for (const { node_id: id } of before) {
    const node = left.get(id);
    if (node) kept.push(node);
    left.delete(id);
  }
  return [...kept, ...left.values()];
}

function makeSpace() {
  // One cell: a colspan would bring back the columns that are hidden on a phone.
  return el("tr", { class: "space", "aria-hidden": "true" }, el("td"));
}

function makeRow() {
  const cells = COLUMNS.map((column) => {
    if (column.id === "name") {
      return el("th", { scope: "row" }, el("button", { type: "button" }));
    }
    if (column.id === "status") return el("td", {}, el("span", { class: "status" }));
    if (!column.bar) return el("td", { class: column.class ?? "" });
    return el(
      "td",
      { class: column.class ?? "" },
      el("span", { class: "meter", "aria-hidden": "true" }, el("span", {})),
      el("span", { class: "figure" }),
    );
  });
  return el("tr", {}, ...cells);
}

function fillRow(row, node, index) {
  setAttribute(row, "aria-rowindex", index + 2);
  COLUMNS.forEach((column, i) => {
    const cell = row.children[i];
    const text = column.text(node);
    if (column.bar) {
      const value = Math.min(100, column.bar(node));
      cell.firstElementChild.firstElementChild.style.width = `${value}%`;
      setAttribute(cell.firstElementChild, "data-full", value >= 90 ? "" : null);
    }
    setText(cell.lastElementChild ?? cell, text);
    if (column.id === "status") cell.firstElementChild.className = `status ${node.status}`;
    if (column.id === "name") setAttribute(cell.firstElementChild, "title", node.node_id);
  });
}
