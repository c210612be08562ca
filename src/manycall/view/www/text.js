// Text of models, servers and users. It is shown as text only: text nodes in an isolate of their own, control and
// invisible characters as visible marks. Copying copies what came.
import { html, useState, classes } from "./dom.js";
import { t } from "./words.js";
import { count } from "./format.js";

// The characters of terminal.py, lone surrogates, and the invisible tag characters (U+E0000 to U+E007F).
const CONTROL =
  /[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\p{Cs}|[\u{e0000}-\u{e007f}]/gu;
const FENCE = /^ {0,3}(```+|~~~+)[^\n]*$/gm;
const FIRST_CHARACTERS = 100_000;

/** Return the parts of a text as {text, code}: `code` is "U+202E" for a character that must be made visible. */
export function controlParts(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(CONTROL)) {
    if (match.index > end) parts.push({ text: text.slice(end, match.index) });
    const code = match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    parts.push({ text: match[0], code: `U+${code}` });
    end = match.index + match[0].length;
  }
  if (end < text.length) parts.push({ text: text.slice(end) });
  return parts;
}

/** Return the ranges [from, to) of fenced code in a text. A fence that is not closed ends with the text. */
export function fencedRanges(text) {
  const ranges = [];
  let open = null;
  for (const match of text.matchAll(FENCE)) {
    const end = match.index + match[0].length;
    if (!open) open = { from: match.index, mark: match[1] };
    else if (match[1][0] === open.mark[0] && match[1].length >= open.mark.length && match[0].trim() === match[1]) {
      ranges.push([open.from, end]);
      open = null;
    }
  }
  if (open) ranges.push([open.from, text.length]);
  return ranges;
}

/** Return the range of the last occurrence of a needle in a text, or null. An empty needle occurs nowhere. */
export function lastOccurrence(text, needle) {
  const from = needle ? text.lastIndexOf(needle) : -1;
  return from < 0 ? null : [from, from + needle.length];
}

/** Return all ranges of a needle in a text, ignoring the case of letters, up to a limit. */
function occurrences(text, needle, limit = 500) {
  const ranges = [];
  if (!needle) return ranges;
  const folded = text.toLowerCase();
  const wanted = needle.toLowerCase();
  if (folded.length !== text.length) return ranges; // Positions would not be those of the text.
  for (let at = folded.indexOf(wanted); at >= 0 && ranges.length < limit; at = folded.indexOf(wanted, at + wanted.length)) {
    ranges.push([at, at + wanted.length]);
  }
  return ranges;
}

const visible = (text) =>
  controlParts(text).map(({ text: part, code }) =>
    code ? html`<span class="control" data-code=${code} title=${code}>${part}</span>` : part,
  );

function cut(text, from, to, ranges, className) {
  const parts = [];
  let at = from;
  for (const [start, end] of ranges) {
    if (end <= at || start >= to) continue;
    parts.push(...visible(text.slice(at, Math.max(at, start))));
    at = Math.min(to, end);
    parts.push(html`<mark class=${className}>${visible(text.slice(Math.max(from, start), at))}</mark>`);
  }
  parts.push(...visible(text.slice(at, to)));
  return parts;
}

/** A text of one line, for lists and labels. */
export function Line({ value, search = "" }) {
  const text = asText(value);
  return html`<bdi class="line">${cut(text, 0, text.length, occurrences(text, search, 20), "hit")}</bdi>`;
}

/** A value as a line, for cells. */
export const line = (value) => html`<${Line} value=${value} />`;

/**
 * A whole text with its line breaks. `found` is marked at its last occurrence (what the scorer read), `search`
 * everywhere. Fenced code gets a background. Long texts begin with their first 100,000 characters.
 */
export function Text({ value, found = "", search = "", label }) {
  const [limit, setLimit] = useState(FIRST_CHARACTERS);
  const whole = asText(value);
  const text = whole.slice(0, limit);
  const range = lastOccurrence(text, asText(found));
  const [marks, className] = range ? [[range], "found"] : [occurrences(text, search), "hit"];
  const parts = [];
  let at = 0;
  for (const [from, to] of fencedRanges(text)) {
    parts.push(...cut(text, at, from, marks, className));
    parts.push(html`<span class="fence">${cut(text, from, to, marks, className)}</span>`);
    at = to;
  }
  parts.push(...cut(text, at, text.length, marks, className));
  return html`<bdi class="text" role=${label ? "group" : null} aria-label=${label}>${parts}</bdi>
    ${whole.length > limit &&
    html`<button class="more" onClick=${() => setLimit(limit * 10)}>
      ${t("Show more: {shown} of {total} characters", { shown: count(limit), total: count(whole.length) })}
    </button>`}`;
}

/** One side of a difference by words: a list of ["=" | "-" | "+", text] as the server computed it. */
export function Difference({ parts, side }) {
  const mark = side === "first" ? "-" : "+";
  return html`<bdi class="text">
    ${parts.map(([operation, text]) => {
      if (operation === "=") return visible(text);
      if (operation !== mark) return null;
      return html`<span class=${classes("difference", side)}><span class="sr">${t("only here:")} </span>${visible(text)}</span>`;
    })}
  </bdi>`;
}

/** Return any JSON value as text. */
export function asText(value) {
  if (typeof value === "string") return value;
  if (value === null || value === undefined) return "";
  return typeof value === "object" ? JSON.stringify(value, null, 1) : String(value);
}
