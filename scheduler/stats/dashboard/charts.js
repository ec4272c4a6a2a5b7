// Figures over time, drawn by uPlot from /api/v1/history.

import { offerChoices } from "./choices.js";
import { color, onThemeChange } from "./colors.js";
import { byId, el } from "./dom.js";
import { count, milliseconds, minuteOfDay, NOTHING, rate, short, timeOfDay } from "./format.js";

// The library has no minified module; its classic script defines a global.
const { uPlot } = window;

const FONT = "11px Inter, system-ui, sans-serif";

const CHARTS = [
  {
    title: "Jobs per second",
    format: rate,
    series: [{ name: "jobs_per_s", label: "completed", stroke: "--series-1", fill: "--series-1-fill" }],
  },
  {
    title: "End to end",
    format: milliseconds,
    series: [
      { name: "end_to_end_p99_ms", label: "p99", stroke: "--series-2" },
      { name: "end_to_end_p50_ms", label: "p50", stroke: "--series-1" },
    ],
  },
  {
    title: "In flight",
    format: count,
    series: [{ name: "in_flight", label: "jobs", stroke: "--series-1", fill: "--series-1-fill" }],
  },
  {
    title: "Failures per second",
    format: rate,
    series: [{ name: "failed_per_s", label: "failed", stroke: "--bad", fill: "--bad-fill" }],
  },
  {
    title: "Dispatch",
    format: milliseconds,
    series: [
      { name: "dispatch_p99_ms", label: "p99", stroke: "--series-2" },
      { name: "dispatch_p50_ms", label: "p50", stroke: "--series-1" },
    ],
  },
  {
    title: "Queued",
    format: count,
    series: [{ name: "queued", label: "jobs", stroke: "--warn-strong", fill: "--warn-fill" }],
  },
];

export class Charts {
  constructor() {
    this._minutes = 0;
    /** @type {any} */
    this._history = null;
    this._box = byId("charts");
    this._plots = CHARTS.map((chart) => new Plot(chart, this._box));
    onThemeChange(() => {
      for (const plot of this._plots) plot.rebuild();
      this._draw();
    });
    offerChoices("range", (minutes) => {
      this._minutes = Number(minutes);
      this._draw();
    });
  }

  show(history) {
    this._history = history;
    this._draw();
  }

  _draw() {
    if (!this._history) return;
    const times = this._history.t_ms;
    const sinceMs = this._minutes ? times.at(-1) - this._minutes * 60_000 : -Infinity;
    const found = times.findIndex((time) => time >= sinceMs);
    const first = found < 0 ? times.length : found;
    for (const plot of this._plots) plot.show(this._history, first);
  }
}

class Plot {
  constructor(chart, parent) {
    this._chart = chart;
    this._keys = chart.series.map((one) => el("span", { class: "key-value" }, NOTHING));
    this._time = el("span", { class: "quiet" });
    this._canvas = el("div", { class: "plot", role: "img" });
    const keys = chart.series.map((one, i) =>
      el("span", { class: `key ${one.stroke.slice(2)}` }, `${one.label} `, this._keys[i]),
    );
    parent.append(
      el(
        "figure",
        { class: "chart" },
        el("figcaption", {}, el("h3", {}, chart.title), this._time, el("span", { class: "keys" }, ...keys)),
        this._canvas,
      ),
    );
    this._data = [[], ...chart.series.map(() => [])];
    this._plot = null;
    new ResizeObserver(() => this._resize()).observe(this._canvas);
  }

  show(history, first) {
    const times = history.t_ms.slice(first).map((ms) => ms / 1000);
    const values = this._chart.series.map(({ name }) => (history[name] ?? []).slice(first));
    this._data = [times, ...values];
    if (this._plot) this._plot.setData(this._data);
    else this._build();
    this._describe();
    this._read(null);
  }

  rebuild() {
    this._plot?.destroy();
    this._plot = null;
    if (this._data[0].length) this._build();
  }

  _resize() {
    const { clientWidth: width, clientHeight: height } = this._canvas;
    if (this._plot && width && (width !== this._plot.width || height !== this._plot.height)) {
      this._plot.setSize({ width, height });
    } else if (!this._plot && this._data[0].length) {
      this._build();
    }
  }

  _build() {
    const { clientWidth: width, clientHeight: height } = this._canvas;
    if (width) this._plot = new uPlot(this._options(width, height), this._data, this._canvas);
  }

  /** Show the values at an index, null: the last ones. */
  _read(index) {
    const at = index ?? this._data[0].length - 1;
    this._keys.forEach((key, i) => {
      key.textContent = this._chart.format(this._data[i + 1][at]);
    });
    this._time.textContent = index === null ? "" : timeOfDay(this._data[0][at] * 1000);
  }

  _describe() {
    const last = this._chart.series.map(
      ({ label }, i) => `${label} ${this._chart.format(this._data[i + 1].at(-1))}`,
    );
    this._canvas.setAttribute("aria-label", `${this._chart.title} over time; now ${last.join(", ")}`);
  }

  _options(width, height) {
    const axis = {
      stroke: color("--quiet"),
      font: FONT,
      grid: { stroke: color("--grid"), width: 1 },
      ticks: { show: false },
    };
    return {
      width,
      height,
      padding: [8, 18, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: "history" }, y: false, drag: { x: false, y: false }, points: { size: 7 } },
      hooks: { setCursor: [(plot) => this._read(plot.cursor.idx ?? null)] },
      scales: { y: { range: (_, low, high) => [0, ceiling(Math.max(high ?? 0, 0))] } },
      axes: [
        { ...axis, size: 26, space: 70, values: (_, splits) => splits.map((s) => minuteOfDay(s * 1000)) },
        { ...axis, size: 50, space: 32, values: (_, splits) => splits.map((v) => this._tick(v)) },
      ],
      series: [{}, ...this._chart.series.map((one) => line(one))],
    };
  }

  _tick(value) {
    if (value === 0 || this._chart.format !== milliseconds) return short(value);
    return value < 1000 ? `${short(value)} ms` : `${short(value / 1000)} s`;
  }
}

function line({ stroke, fill }) {
  return {
    stroke: color(stroke),
    fill: fill ? color(fill) : undefined,
    width: 1.75,
    points: { show: false },
    spanGaps: false,
  };
}

/** Room above the line, and a scale where all is zero. */
const ceiling = (high) => (high > 0 ? high * 1.12 : 1);
