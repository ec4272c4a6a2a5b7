// What the connected nodes have left below the limits.

import { showBars } from "./bars.js";
import { byId } from "./dom.js";
import { count, decimal, percent } from "./format.js";

const KINDS = [
  { key: "cpu", label: "CPU", unit: "cores", of: (node) => node.cpu_cores },
  { key: "gpu", label: "GPU memory", unit: "GB", of: (node) => node.gpu_memory_gb },
  { key: "memory", label: "Memory", unit: "GB", of: (node) => node.memory_gb },
];

/** @param {any} power the snapshot's compute_power @param {any[] | null} nodes */
export function showPower(power, nodes) {
  const connected = (nodes ?? []).filter((node) => node.status !== "offline");
  const bars = KINDS.map(({ key, label, unit, of }) => {
    const left = power[`total_${key}_power`];
    const all = connected.reduce((sum, node) => sum + of(node), 0);
    return {
      key,
      label,
      text: `${left >= 100 ? count(left) : decimal(left)} ${unit}`,
      share: all ? Math.min(1, left / all) : 0,
      note: all ? `${percent((100 * left) / all)} of ${count(all)} ${unit}` : "",
    };
  });
  showBars(byId("power"), bars, "");
}
