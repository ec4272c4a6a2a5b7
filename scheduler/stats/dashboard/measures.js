// What a node's figures come to; the map, the table and the details share it.

export const STATUSES = ["ready", "degraded", "draining", "registering", "offline"];

/** Jobs a node has to do, its own other work included. */
export const jobsOf = (node) => node.in_flight + node.external_jobs;

export const loadOf = (node) => (node.capacity ? (100 * jobsOf(node)) / node.capacity : 0);

/** Figures in percent that the map can show. */
export const MEASURES = {
  load: { label: "Load", of: loadOf },
  cpu: { label: "CPU", of: (node) => node.cpu_percent },
  gpu: { label: "GPU", of: (node) => node.gpu_percent },
  memory: { label: "Memory", of: (node) => node.memory_percent },
};

/** Steps of a percentage: idle, quarters, and full. */
export const STEPS = ["0 %", "to 25", "to 50", "to 75", "below 100", "full"];

export function stepOf(value) {
  if (value >= 100) return 5;
  return value > 0 ? Math.min(4, 1 + Math.floor((value - 0.01) / 25)) : 0;
}
