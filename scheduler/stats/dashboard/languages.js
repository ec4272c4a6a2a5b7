// Which languages the open sessions speak.

import { showBars } from "./bars.js";
import { byId } from "./dom.js";
import { count } from "./format.js";

const SHOWN_MAX = 10;
const names = new Intl.DisplayNames(["en"], { type: "language", fallback: "code" });

/** @param {any} clients the snapshot's part about web clients */
export function showLanguages({ language_usage: usage }) {
  const entries = Object.entries(usage)
    .sort(([a, one], [b, other]) => other.total - one.total || (a < b ? -1 : 1))
    .slice(0, SHOWN_MAX);
  const most = Math.max(1, ...entries.map(([, { total }]) => total));
  const bars = entries.map(([code, { as_source, as_target }]) => ({
    key: code,
    label: nameOf(code),
    text: `${count(as_source)} / ${count(as_target)}`,
    share: as_source / most,
    share2: as_target / most,
  }));
  showBars(byId("languages"), bars, "No session is open.");
}

/** The code comes from a client and may be anything. */
function nameOf(code) {
  try {
    const name = names.of(code);
    return name && name !== code ? `${name} (${code})` : code;
  } catch {
    return code;
  }
}
