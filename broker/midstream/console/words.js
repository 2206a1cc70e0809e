/** Numbers, times and sizes as people read them. */

const whole = new Intl.NumberFormat("en");
const rough = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
/** What stands where nothing is known. */
export const NONE = "–";

export function number(value) {
  return value == null ? NONE : whole.format(value);
}

/** A number with three digits that count. */
export function about(value) {
  return value == null ? NONE : rough.format(value);
}

export function count(value, noun) {
  return `${number(value)} ${noun}${value === 1 ? "" : "s"}`;
}

export function bytes(value) {
  if (value == null) return NONE;
  let step = 0;
  while (value >= 1024 && step < UNITS.length - 1) {
    value /= 1024;
    step += 1;
  }
  return `${step ? rough.format(value) : value} ${UNITS[step]}`;
}

/** A length of time: "250 ms", "4.2 s", "3 min 20 s", "2 h 5 min", "3 d 4 h". */
export function duration(ms) {
  if (ms == null) return NONE;
  if (ms < 1_000) return `${Math.round(Math.max(0, ms))} ms`;
  if (ms < 60_000) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
  const s = Math.floor(ms / 1_000);
  if (s < 3_600) return pair(Math.floor(s / 60), "min", s % 60, "s");
  if (s < 86_400) return pair(Math.floor(s / 3_600), "h", Math.floor((s % 3_600) / 60), "min");
  return pair(Math.floor(s / 86_400), "d", Math.floor((s % 86_400) / 3_600), "h");
}

/** A length of time with one unit, for columns that change every second. */
export function shortly(ms) {
  if (ms == null) return NONE;
  if (ms < 60_000) return `${Math.floor(Math.max(0, ms) / 1_000)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min`;
  if (ms < 86_400_000) return `${Math.floor(ms / 3_600_000)} h`;
  return `${Math.floor(ms / 86_400_000)} d`;
}

/** The time of day. */
export function clock(ms) {
  return ms == null ? NONE : new Date(ms).toLocaleTimeString("en-GB");
}

/** Day and time. */
export function moment(ms) {
  return ms == null ? NONE : new Date(ms).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
}

function pair(large, largeUnit, small, smallUnit) {
  return small ? `${large} ${largeUnit} ${small} ${smallUnit}` : `${large} ${largeUnit}`;
}
