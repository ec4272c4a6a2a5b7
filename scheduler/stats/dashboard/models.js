// MODEL_NOT_AVAILABLE that nodes answered, by service, reason and node.

import { showBars } from "./bars.js";
import { openFromChips, showChips } from "./chips.js";
import { byId, setText } from "./dom.js";
import { count, words } from "./format.js";

/** What stands for those that a metric does not name. */
const OTHER = "other";

export class Models {
  /** @param {(nodeId: string) => void} onOpen */
  constructor(onOpen) {
    this._shown = "";
    openFromChips(byId("models-nodes"), onOpen);
  }

  /**
   * Return whether the metrics have to be fetched, which are large, to show what the snapshot has.
   * @param {any} snapshot
   */
  needs(snapshot) {
    const state = stateOf(snapshot);
    byId("models").hidden = !state;
    return state !== null && state !== this._shown;
  }

  /**
   * @param {any} snapshot that they were fetched for
   * @param {any} document of /api/v1/metrics
   * @param {Map<string, any>} nodes by id
   */
  show(snapshot, { metrics }, nodes) {
    this._shown = stateOf(snapshot) ?? "";
    const totals = (name) => totalsOf(metrics, name);
    const services = totals("scheduler_model_not_available_missing_total");
    const marked = totals("scheduler_model_not_available_marked_total");
    const limited = totals("scheduler_model_not_available_rate_limited_total");
    showBars(
      byId("models-services"),
      bars(services, serviceLabel, (name) => noteOf(marked.get(name), limited.get(name))),
      "",
    );
    const reasons = totals("scheduler_model_not_available_by_reason_total");
    showBars(byId("models-reasons"), bars(reasons, words, () => ""), "");
    showNodes(totals("scheduler_node_model_missing_total"), nodes);
    const received = [...services.values()].reduce((sum, total) => sum + total, 0);
    setText(byId("models-note"), `${count(received)} since the start`);
  }
}

/** Return what changes with each of them, null where there was none. */
function stateOf({ scheduler, snapshot }) {
  const {
    model_not_available_total: received,
    models_marked_total: marked,
    models_rate_limited_total: limited,
  } = scheduler.counters.dispatcher;
  return received ? [snapshot.source, received, marked, limited].join(" ") : null;
}

/** Return the samples of a metric that are not 0 by their only label, largest first. */
function totalsOf(metrics, name) {
  const samples = metrics.find((metric) => metric.name === name)?.samples ?? [];
  const entries = samples.map(({ labels, value }) => [Object.values(labels)[0], value]);
  return new Map(entries.filter(([, value]) => value > 0).sort((a, b) => b[1] - a[1]));
}

function bars(totals, labelOf, noteOf) {
  const most = Math.max(1, ...totals.values());
  return [...totals].map(([name, total]) => ({
    key: name,
    label: labelOf(name),
    text: count(total),
    share: total / most,
    tone: "warn",
    note: noteOf(name),
  }));
}

const serviceLabel = (name) => (name === OTHER ? "Not named, or unknown" : name);

function noteOf(marked, limited) {
  const parts = [];
  if (marked) parts.push(`${count(marked)} marks set`);
  if (limited) parts.push(`${count(limited)} withheld`);
  return parts.join(", ");
}

function showNodes(totals, nodes) {
  const rest = totals.get(OTHER) ?? 0;
  const named = [...totals.keys()].filter((id) => id !== OTHER);
  showChips(byId("models-nodes"), named, nodes, (id) => count(totals.get(id)));
  setText(byId("models-rest"), rest ? `and ${count(rest)} from others` : "");
}
