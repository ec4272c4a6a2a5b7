// Numbers, times and spans for people.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const one = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

const digits = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export const NOTHING = "–";

/** @param {number | null | undefined} value */
const known = (value) => typeof value === "number" && Number.isFinite(value);

export const count = (value) => (known(value) ? whole.format(value) : NOTHING);

/** "1 node", "1,200 nodes". */
export const counted = (value, name) => `${count(value)} ${name}${value === 1 ? "" : "s"}`;

/** Short where it is long: 1.2M. */
export const brief = (value) => (known(value) ? compact.format(value) : NOTHING);

export const decimal = (value) => (known(value) ? one.format(value) : NOTHING);

/** As few digits as tell it, for the labels of an axis. */
export const short = (value) => (known(value) ? digits.format(value) : NOTHING);

/** Events per second: more digits the rarer they are. */
export function rate(value) {
  if (!known(value)) return NOTHING;
  if (value === 0 || value >= 100) return whole.format(value);
  return value >= 1 ? value.toFixed(1) : value.toPrecision(2);
}

export const percent = (value) => (known(value) ? `${whole.format(value)} %` : NOTHING);

/** A part of a whole, 0 to 1, that may be far below a percent. */
export function portion(share) {
  if (!known(share)) return NOTHING;
  if (share > 0 && share < 0.001) return "< 0.1 %";
  return share < 0.1 ? `${one.format(100 * share)} %` : percent(100 * share);
}

/** @param {number | null} ms */
export function milliseconds(ms) {
  if (!known(ms)) return NOTHING;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${whole.format(ms)} ms`;
  return ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : span(ms);
}

/** A time from microseconds to minutes, in about three digits. */
export function duration(ms) {
  if (known(ms) && ms < 0.9995) return `${whole.format(1000 * ms)} µs`;
  return known(ms) && ms >= 999.5 && ms < 9_995 ? `${(ms / 1000).toFixed(2)} s` : milliseconds(ms);
}

/** A span of time in its two largest units. */
export function span(ms) {
  if (!known(ms)) return NOTHING;
  const seconds = Math.floor(ms / 1000);
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  if (hours >= 24) return `${whole.format(Math.floor(hours / 24))} d ${hours % 24} h`;
  if (hours) return `${hours} h ${minutes % 60} min`;
  if (minutes) return `${minutes} min ${seconds % 60} s`;
  return `${seconds} s`;
}

/** How long ago something was, null: never. */
export const ago = (ms) => (known(ms) ? `${span(ms)} ago` : "never");

const clock = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
const clockFine = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
});
const clockShort = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

export const timeOfDay = (ms) => clock.format(ms);
export const timeOfDayFine = (ms) => clockFine.format(ms);
export const minuteOfDay = (ms) => clockShort.format(ms);

const ACRONYMS = /\b(cpu|gpu|nmt|tts|asr|ws|id)\b/g;

/** "no_free_slot" and "CPU_LIMIT" as words. */
export function words(name) {
  const text = String(name)
    .replaceAll("_", " ")
    .toLowerCase()
    .replace(ACRONYMS, (acronym) => acronym.toUpperCase());
  return text.charAt(0).toUpperCase() + text.slice(1);
}
