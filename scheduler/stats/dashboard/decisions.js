// How nodes were chosen lately.

import { openFromChips, showChips } from "./chips.js";
import { byId, el, reconcile, setAttribute, setText } from "./dom.js";
import { count, NOTHING, portion, timeOfDayFine, words } from "./format.js";

const SHOWN_MAX = 10;

/** Stands for a node that has left. */
const GONE = "gone";

const DOTS = { placed: "ready", served: "ready", queued: "degraded" };

export class Decisions {
  /** @param {(nodeId: string) => void} onOpen */
  constructor(onOpen) {
    this._rows = byId("decisions-rows");
    this._isHeld = false;
    this._late = null;
    openFromChips(this._rows, onOpen);
    this._holdStill();
  }

  /** @param {any} document of /api/v1/decisions @param {Map<string, any>} nodes by id */
  show(document, nodes) {
    if (this._isHeld) this._late = [document, nodes];
    else this._render(document, nodes);
  }

  /** Rows must not go away under a pointer that is about to click, or with the focus. */
  _holdStill() {
    const hold = (isHeld) => {
      this._isHeld = isHeld;
      byId("decisions-held").hidden = !isHeld;
      if (isHeld || !this._late) return;
      this._render(...this._late);
      this._late = null;
    };
    this._rows.addEventListener("pointerenter", (event) => {
      if (event.pointerType === "mouse") hold(true);
    });
    this._rows.addEventListener("pointerleave", () => hold(this._rows.contains(document.activeElement)));
    this._rows.addEventListener("focusin", () => hold(true));
    this._rows.addEventListener("focusout", (event) => {
      if (!this._rows.contains(event.relatedTarget)) hold(this._rows.matches(":hover"));
    });
  }

  _render({ decisions, recorded_total: recorded, unrecorded_total: unrecorded, ...rest }, nodes) {
    const shown = withKeys(decisions.slice(0, SHOWN_MAX));
    const hasShadow = shown.some(({ shadow }) => shadow !== null);
    byId("decisions-shadow").hidden = !hasShadow;
    reconcile(this._rows, shown.length ? shown : [null], {
      key: (decision) => decision?.key ?? "empty",
      create: (decision) => (decision ? makeRow(decision, timeOf(decision, rest)) : makeEmpty()),
      update: (row, decision) => {
        if (decision) fillRow(row, decision, nodes, hasShadow);
      },
    });
    const beyond = unrecorded ? `, ${count(unrecorded)} more beyond what may be` : "";
    setText(byId("decisions-note"), `${count(recorded)} recorded since the start${beyond}`);
  }
}

/** Return what the decisions say of one node, as rows of its details. */
export function decisionsAbout(id, document, nodes) {
  const nameOf = (other) => nodes.get(other)?.name ?? other ?? "none";
  const about = document.decisions
    .filter(({ node, runner_up: second }) => node === id || second === id)
    .slice(0, SHOWN_MAX);
  return withKeys(about).map((decision) => ({
    key: decision.key,
    label: timeOf(decision, document),
    text:
      decision.node === id
        ? `${decision.outcome} at load ${loadOf(decision.load)}; next best ${nameOf(decision.runner_up)}`
        : `next best at load ${loadOf(decision.runner_up_load)}; ${decision.outcome} on ${nameOf(decision.node)}`,
    class: "",
  }));
}

/** A job can be decided on twice with the same outcome. */
function withKeys(decisions) {
  const seen = new Map();
  return decisions.map((decision) => {
    const { job_id: job, attempt, outcome } = decision;
    const key = `decision ${job} ${attempt} ${outcome}`;
    seen.set(key, (seen.get(key) ?? 0) + 1);
    return { ...decision, key: `${key} ${seen.get(key)}` };
  });
}

/** Jobs are whole; what is not is a share of the capacity. */
const loadOf = (load) => (Number.isInteger(load) ? count(load) : portion(load));

const timeOf = ({ age_ms: ageMs }, { generated_at_ms: nowMs }) => timeOfDayFine(nowMs - ageMs);

function makeEmpty() {
  return el("tr", {}, el("td", { class: "empty" }, "No decision has been recorded yet."));
}

function makeRow({ job_id: job, outcome, services }, time) {
  return el(
    "tr",
    {},
    el("td", { class: "mono" }, time),
    el("th", { scope: "row", class: "mono optional", title: services.join(", ") }, job),
    el("td", {}, el("span", { class: `status ${DOTS[outcome] ?? "offline"}` }, words(outcome))),
    el("td", { class: "decision-node" }),
    el("td", { class: "optional" }),
    el("td", { class: "optional quiet" }),
    el("td", { class: "figure optional" }),
    el("td", { class: "figure optional" }),
  );
}

function fillRow(row, decision, nodes, hasShadow) {
  const [, , , node, second, shadow, eligible, queued] = row.children;
  const { node: chosen, runner_up: runnerUp } = decision;
  if (chosen) showNode(node, chosen, nodes, loadOf(decision.load));
  else setText(node, whyNone(decision.excluded));
  setAttribute(node, "class", `decision-node ${chosen ? "" : "quiet"}`);
  showNode(second, runnerUp, nodes, loadOf(decision.runner_up_load));
  shadow.hidden = !hasShadow;
  if (chosen && decision.shadow === chosen) setText(shadow, "the same");
  else showNode(shadow, decision.shadow, nodes);
  setText(eligible, count(decision.eligible));
  setText(queued, count(decision.queued));
}

function showNode(cell, id, nodes, load = "") {
  if (id && id !== GONE) showChips(cell, [id], nodes, () => load);
  else setText(cell, id ? `${id} ${load}` : NOTHING);
}

function whyNone(excluded) {
  const found = Object.entries(excluded).sort(([, a], [, b]) => b - a);
  return found.map(([reason, number]) => `${words(reason)} ${count(number)}`).join(" · ") || NOTHING;
}
