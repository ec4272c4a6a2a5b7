// Where the time of jobs goes, stage by stage.

import { offerChoices } from "./choices.js";
import { byId, el, reconcile, setAttribute, setText } from "./dom.js";
import { brief, count, duration, portion, span, words } from "./format.js";
import { inRows, outerOf, placeBars, shares, startOf, toneOf } from "./stages.js";

const FIGURES = ["mean", "p50", "p99"];
const COUNT_LONG = 100_000;
const TONES = {
  scheduler: "the scheduler",
  waiting: "waiting for a slot or its turn",
  node: "the node",
};

export class Waterfall {
  constructor() {
    /** @type {any} */
    this._document = null;
    this._isWhole = false;
    this._isLog = false;
    this._rows = byId("waterfall-rows");
    offerChoices("waterfall-jobs", (value) => {
      this._isWhole = value === "whole";
      this._render();
    });
    offerChoices("waterfall-scale", (value) => {
      this._isLog = value === "log";
      this._render();
    });
    closeTipsByEscape(this._rows);
  }

  /** @param {any} document of /api/v1/waterfall */
  show(document) {
    this._document = document;
    this._render();
  }

  _render() {
    if (!this._document) return;
    const { interval_s: seconds, ...all } = this._document;
    const stages = this._isWhole ? all.stages : all.interval_stages;
    const sums = this._isWhole ? all.sums : all.interval_sums;
    const bars = placeBars(stages, sums, this._isLog);
    const rows = [
      ...inRows(stages).map((stage) => ({ ...stage, kind: outerOf(stage.name) ? "inside" : "stage" })),
      ...sums.map((sum) => ({ ...sum, kind: "sum" })),
    ].map((stage) => ({ ...stage, bar: bars.get(stage.name), tip: tipOf(stage, stages) }));
    reconcile(this._rows, rows, {
      key: ({ name }) => `stage ${name}`,
      create: makeRow,
      update: (row, stage) => fillRow(row, stage, bars),
    });
    const jobs = Math.max(0, ...stages.map((stage) => stage.count));
    const when = this._isWhole ? "since the start" : `in the last ${span(seconds * 1000)}`;
    setText(byId("waterfall-note"), jobs ? `${count(jobs)} jobs ${when}` : `No job ${when}.`);
    showLegend(stages);
  }
}

function tipOf({ name, kind, what, mean_ms: ms }, stages) {
  const startMs = startOf(name, stages);
  if (ms === null || kind === "sum" || !startMs) return what;
  return `${what}; begins after ${duration(startMs)} on average`;
}

/** The roles are there because the rows are no table to the style sheet. */
function makeRow({ name, kind }) {
  const id = `stage-${name}`;
  const figures = FIGURES.map(() => el("td", { role: "cell", class: "figure" }));
  return el(
    "tr",
    { role: "row", class: `stage ${kind}`, "data-tone": kind === "sum" ? "sum" : toneOf(name) },
    el(
      "th",
      { role: "rowheader", scope: "row" },
      el("button", { type: "button", class: "stage-name", "aria-describedby": id }, words(name)),
      el("span", { class: "tip stage-tip", role: "tooltip", id }),
    ),
    el("td", { class: "stage-track", "aria-hidden": "true" }, el("span"), el("span")),
    ...figures,
    el("td", { role: "cell", class: "figure optional" }),
  );
}

function fillRow(row, stage, bars) {
  const [head, track, ...cells] = row.children;
  setText(head.lastElementChild, stage.tip);
  const [bar, inner] = track.children;
  placeBar(bar, stage.bar);
  placeBar(inner, stage.name === "node" ? bars.get("first_partial") : undefined);
  FIGURES.forEach((figure, i) => setText(cells[i], duration(stage[`${figure}_ms`])));
  setText(cells.at(-1), stage.count < COUNT_LONG ? count(stage.count) : brief(stage.count));
  setAttribute(cells.at(-1), "title", count(stage.count));
}

function placeBar(bar, place) {
  bar.hidden = !place;
  if (!place) return;
  bar.style.left = `${100 * place.left}%`;
  bar.style.width = `${100 * place.width}%`;
}

function showLegend(stages) {
  reconcile(byId("waterfall-legend"), shares(stages), {
    key: ({ tone }) => tone,
    create: ({ tone }) =>
      el("li", {}, el("span", { class: "swatch", "data-tone": tone, "aria-hidden": "true" }), el("span")),
    update: (item, { tone, ms, share }) =>
      setText(item.lastElementChild, `${TONES[tone]} ${duration(ms)}, ${portion(share)}`),
  });
}

/** A tip that is in the way goes, until another stage is pointed at or focused. */
function closeTipsByEscape(box) {
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") box.dataset.tips = "closed";
  });
  for (const kind of ["pointerover", "focusin"]) {
    box.addEventListener(kind, () => delete box.dataset.tips);
  }
}
