// The stages of a job: what kind each is, and where its bar lies.

/** A stage that is over before another is: it is drawn inside that one. */
const INSIDE = { first_partial: "node" };

/** Sums, by the first and the last stage that they reach over. */
const REACHES = { dispatch: ["submit", "assign"], end_to_end: ["submit", "order"] };

const TONES = { queue: "waiting", order: "waiting", node: "node", first_partial: "node" };

/** Part of the width that a stage has at least, however short it is. */
const WIDTH_MIN = 0.008;

/** Where the logarithm begins: what is much shorter than this is as good as nothing. */
const LOG_FLOOR_MS = 0.01;

export const outerOf = (name) => INSIDE[name];

export const toneOf = (name) => TONES[name] ?? "scheduler";

/** The stages in the order of the rows: one that lies in another comes after it. */
export function inRows(stages) {
  const outer = stages.filter(({ name }) => !outerOf(name));
  return outer.flatMap((stage) => [
    stage,
    ...stages.filter(({ name }) => outerOf(name) === stage.name),
  ]);
}

/**
 * Return the bar of each stage and sum that has one, as parts of the width. The lengths are those
 * of the means, or of their logarithms; each stage begins where the one before ends.
 * @param {any[]} stages @param {any[]} sums @param {boolean} isLog
 * @returns {Map<string, {left: number, width: number}>}
 */
export function placeBars(stages, sums, isLog) {
  const lengthOf = ({ mean_ms: ms }) => (isLog ? Math.log10(1 + ms / LOG_FLOOR_MS) : ms);
  const lengths = new Map(stages.map((stage) => [stage.name, stage.mean_ms ? lengthOf(stage) : 0]));
  const row = stages.filter(({ name }) => !outerOf(name) && lengths.get(name) > 0);
  const total = row.reduce((sum, { name }) => sum + lengths.get(name), 0);
  const shared = 1 - WIDTH_MIN * row.length;
  const bars = new Map();
  let left = 0;
  for (const { name } of row) {
    const width = WIDTH_MIN + (shared * lengths.get(name)) / total;
    bars.set(name, { left, width });
    left += width;
  }
  placeInside(bars, stages, lengths);
  placeSums(bars, sums);
  return bars;
}

function placeInside(bars, stages, lengths) {
  for (const { name } of stages) {
    const outer = bars.get(outerOf(name));
    if (!outer || !lengths.get(name)) continue;
    // Not all jobs have it: the mean of those that do may be above that of all.
    const share = Math.min(1, lengths.get(name) / lengths.get(outerOf(name)));
    bars.set(name, { left: outer.left, width: outer.width * share });
  }
}

function placeSums(bars, sums) {
  for (const { name, count } of sums) {
    const reached = (REACHES[name] ?? []).map((stage) => bars.get(stage));
    if (!count || reached.length !== 2 || reached.includes(undefined)) continue;
    const [first, last] = reached;
    bars.set(name, { left: first.left, width: last.left + last.width - first.left });
  }
}

/** Return for each tone the sum of the means of its stages, and what share of all it is. */
export function shares(stages) {
  const sums = { scheduler: 0, waiting: 0, node: 0 };
  for (const { name, mean_ms: ms } of stages) {
    if (!outerOf(name)) sums[toneOf(name)] += ms ?? 0;
  }
  const all = Object.values(sums).reduce((sum, ms) => sum + ms, 0);
  return Object.entries(sums).map(([tone, ms]) => ({ tone, ms, share: all ? ms / all : 0 }));
}

/** Return when a stage begins, by the means of those before it, in ms. */
export function startOf(name, stages) {
  const until = outerOf(name) ?? name;
  let ms = 0;
  for (const stage of stages) {
    if (stage.name === until) return ms;
    if (!outerOf(stage.name)) ms += stage.mean_ms ?? 0;
  }
  return ms;
}
