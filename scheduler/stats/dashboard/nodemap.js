// Every node as a cell: thousands fit. A node keeps its place, whatever the table is sorted by.

import { color, onThemeChange } from "./colors.js";
import { byId, el, reconcile, setText } from "./dom.js";
import { ago, count, percent } from "./format.js";
import { jobsOf, MEASURES, STATUSES, STEPS, stepOf } from "./measures.js";

const CELL_MIN = 5;
const CELL_MAX = 26;
const AREA_PER_WIDTH = 0.22; // the height that is aimed at
const HEIGHT_MIN = 150;
const UNMATCHED_ALPHA = 0.14;
const TIP_GAP = 14;

export class NodeMap {
  /** @param {(node: any) => void} onOpen */
  constructor(onOpen) {
    this._box = byId("map");
    this._canvas = byId("map-canvas");
    this._tip = byId("map-tip");
    this._nodes = [];
    this._matching = new Set();
    this._measure = "load";
    this._cell = CELL_MAX;
    this._columns = 1;
    this._palette = palette();
    onThemeChange(() => {
      this._palette = palette();
      this._draw();
    });
    new ResizeObserver(() => this._draw()).observe(this._box);
    this._canvas.addEventListener("pointermove", (event) => this._point(event));
    this._canvas.addEventListener("pointerleave", () => this._leave());
    this._canvas.addEventListener("click", (event) => {
      const node = this._at(event);
      if (node) onOpen(node);
    });
  }

  /**
   * @param {any[]} nodes in the order of the cells
   * @param {Set<any>} matching those that the filters leave; the others fade
   * @param {keyof typeof MEASURES} measure
   */
  show(nodes, matching, measure) {
    this._nodes = nodes;
    this._matching = matching;
    this._measure = measure;
    this._draw();
    this._describe();
    if (!this._tip.hidden) this._fillTip(this._pointed);
  }

  _draw() {
    const width = this._box.clientWidth;
    if (!width) return;
    this._fit(width);
    const rows = Math.ceil(this._nodes.length / this._columns);
    const height = Math.max(1, rows * this._cell);
    const scale = devicePixelRatio || 1;
    this._canvas.width = Math.round(width * scale);
    this._canvas.height = Math.round(height * scale);
    this._canvas.style.height = `${height}px`;
    const context = this._canvas.getContext("2d");
    context.scale(scale, scale);
    this._nodes.forEach((node, index) => this._drawCell(context, node, index));
  }

  _fit(width) {
    const height = Math.max(HEIGHT_MIN, width * AREA_PER_WIDTH);
    const ideal = Math.sqrt((width * height) / Math.max(1, this._nodes.length));
    this._cell = Math.min(CELL_MAX, Math.max(CELL_MIN, Math.floor(ideal)));
    this._columns = Math.max(1, Math.floor(width / this._cell));
  }

  _drawCell(context, node, index) {
    const x = (index % this._columns) * this._cell;
    const y = Math.floor(index / this._columns) * this._cell;
    const gap = this._cell > 10 ? 2 : 1;
    const size = this._cell - gap;
    context.globalAlpha = this._matching.has(node) ? 1 : UNMATCHED_ALPHA;
    context.fillStyle = context.strokeStyle = this._colorOf(node);
    if (node.status === "offline") {
      // Hollow, so that it differs without colour too.
      context.lineWidth = size > 10 ? 1.5 : 1;
      context.strokeRect(x + 0.75, y + 0.75, size - 1.5, size - 1.5);
    } else {
      context.beginPath();
      context.roundRect(x, y, size, size, size > 10 ? 3 : 1);
      context.fill();
    }
  }

  _colorOf(node) {
    if (node.status !== "ready") return this._palette[node.status] ?? this._palette.registering;
    return this._palette.steps[stepOf(MEASURES[this._measure].of(node))];
  }

  _at(event) {
    const box = this._canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left) / this._cell);
    const row = Math.floor((event.clientY - box.top) / this._cell);
    if (column < 0 || row < 0 || column >= this._columns) return undefined;
    return this._nodes[row * this._columns + column];
  }

  _point(event) {
    const node = this._at(event);
    if (!node || event.pointerType === "touch") {
      this._leave();
      return;
    }
    this._canvas.style.cursor = "pointer";
    this._fillTip(node);
    this._tip.hidden = false;
    const box = this._box.getBoundingClientRect();
    const x = event.clientX - box.left;
    const y = event.clientY - box.top;
    const isLeft = x + TIP_GAP + this._tip.offsetWidth > box.width;
    this._tip.style.left = `${isLeft ? Math.max(0, x - TIP_GAP - this._tip.offsetWidth) : x + TIP_GAP}px`;
    this._tip.style.top = `${y + TIP_GAP}px`;
  }

  _leave() {
    this._tip.hidden = true;
    this._canvas.style.cursor = "";
  }

  _fillTip(pointed) {
    const node = this._nodes.find((other) => other.node_id === pointed.node_id) ?? pointed;
    this._pointed = node;
    this._tip.replaceChildren(
      el("strong", {}, node.name),
      el("span", { class: `status ${node.status}` }, node.status),
      el("span", {}, `${count(jobsOf(node))} of ${count(node.capacity)} jobs`),
      el("span", {}, `CPU ${percent(node.cpu_percent)} · GPU ${percent(node.gpu_percent)} · memory ${percent(node.memory_percent)}`),
      el("span", { class: "quiet" }, `heartbeat ${ago(node.heartbeat_age_ms)}`),
    );
  }

  _describe() {
    const counts = new Map();
    for (const node of this._nodes) {
      counts.set(node.status, (counts.get(node.status) ?? 0) + 1);
    }
    const parts = STATUSES.flatMap((status) =>
      counts.has(status) ? [`${count(counts.get(status))} ${status}`] : [],
    );
    this._canvas.setAttribute(
      "aria-label",
      `Load map of ${count(this._nodes.length)} nodes: ${parts.join(", ") || "none"}. The table below has the same nodes.`,
    );
    byId("map-empty").hidden = this._nodes.length > 0;
    reconcile(byId("map-legend"), legend(counts, MEASURES[this._measure].label), {
      key: (item) => item.name,
      create: (item) =>
        el("li", {}, el("span", { class: `swatch ${item.name}`, "aria-hidden": "true" }), el("span", {})),
      update: (element, item) => setText(element.lastElementChild, item.text),
    });
  }
}

function legend(counts, label) {
  const steps = STEPS.map((text, step) => ({
    name: `step-${step}`,
    text: step === 0 ? `${label} ${text}` : text,
  }));
  const others = STATUSES.slice(1).map((status) => ({
    name: status,
    text: `${status} ${count(counts.get(status) ?? 0)}`,
  }));
  return [...steps, ...others];
}

function palette() {
  return {
    steps: STEPS.map((_, step) => color(`--step-${step}`)),
    degraded: color("--degraded"),
    draining: color("--draining"),
    registering: color("--registering"),
    offline: color("--offline"),
  };
}
