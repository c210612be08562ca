// Numbers, durations, times and sizes as text, in the language of the page.
import { language } from "./words.js";

const formats = new Map();

function numberFormat(options) {
  const key = language() + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(language(), options));
  return formats.get(key);
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** A count such as 1,319. Missing values are a dash. */
export const count = (value) => (isNumber(value) ? numberFormat({ maximumFractionDigits: 0 }).format(value) : "–");

/** A large number in few characters, such as 1.2M. */
export const compact = (value) =>
  isNumber(value) ? numberFormat({ notation: "compact", maximumSignificantDigits: 3 }).format(value) : "–";

/** A measurement with three significant digits. */
export const measure = (value) =>
  isNumber(value) ? numberFormat({ maximumSignificantDigits: Math.abs(value) >= 1000 ? 6 : 3 }).format(value) : "–";

/** A score with four decimals. */
export const score = (value) => (isNumber(value) ? value.toFixed(4) : "–");

/** A share of 1 as a percentage. */
export const percent = (value, digits = 1) =>
  isNumber(value) ? numberFormat({ style: "percent", maximumFractionDigits: digits }).format(value) : "–";

/** An amount of money: two decimals, more below one cent. */
export function money(value, currency = "USD") {
  if (!isNumber(value)) return "–";
  const digits = value !== 0 && Math.abs(value) < 0.01 ? 4 : 2;
  try {
    return numberFormat({ style: "currency", currency, minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
  } catch {
    return `${value.toFixed(digits)} ${currency}`;
  }
}

/** A p-value: 0.031, or 1.2e-7. */
export const pValue = (value) => (isNumber(value) ? (value >= 0.001 ? value.toFixed(3) : value.toExponential(1)) : "–");

/** A duration in its two largest units: 340 ms, 1.4 s, 4 min 10 s, 3 h 5 min, 2 d 3 h. */
export function duration(seconds) {
  if (!isNumber(seconds)) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const units = whole < 3600 ? [60, "min", 1, "s"] : whole < 86_400 ? [3600, "h", 60, "min"] : [86_400, "d", 3600, "h"];
  const [large, largeName, small, smallName] = units;
  const rest = Math.floor((whole % large) / small);
  return `${Math.floor(whole / large)} ${largeName}${rest ? ` ${rest} ${smallName}` : ""}`;
}

/** A time of day, with the date if it is not today. */
export function clockTime(seconds, withSeconds = false, now = Date.now() / 1000) {
  if (!isNumber(seconds)) return "–";
  const date = new Date(seconds * 1000);
  const time = { hour: "2-digit", minute: "2-digit", ...(withSeconds && { second: "2-digit" }), hour12: false };
  const isToday = date.toDateString() === new Date(now * 1000).toDateString();
  return date.toLocaleString(language(), isToday ? time : { month: "short", day: "numeric", ...time });
}

/** How long ago a time was. */
export const ago = (seconds, now = Date.now() / 1000) => duration(Math.max(0, now - seconds));

/** A size such as 1.03 GB. */
export function bytes(value) {
  if (!isNumber(value)) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = value < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(value) / 3));
  return `${measure(value / 1000 ** power)} ${units[power]}`;
}
