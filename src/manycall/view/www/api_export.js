// What api.js does, for a static export: the answers are in the page. It takes the place of api.js there.

import { ApiError } from "./shared.js";

const MAX_CHARACTERS = 200;
const NOT_EXPORTED = "This is not part of the export.";

let loading = null;

/** Return the exported data, which may be compressed. */
const data = () => (loading ||= read());

async function read() {
  const block = document.getElementById("manycall-data");
  if (!block.dataset.encoding) return JSON.parse(block.textContent);
  const bytes = Uint8Array.from(atob(block.textContent), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

export function takeToken() {}

export async function request(path, params = {}) {
  if (path.endsWith("/events")) return new Response(new ReadableStream()); // nothing will happen any more
  const [, run, , n] = /^runs\/(\w+)\/(rows)\/(\d+)$/.exec(path) || [];
  if (n === undefined) return new Response(JSON.stringify(await answer(path, params)));
  const body = JSON.stringify(rowOf(await data(), run, params.file || "out", Number(n))[1]);
  return new Response(body, { headers: { "X-Total-Bytes": String(new TextEncoder().encode(body).length) } });
}

export const get = async (path, params) => answer(path, params);

export async function download() {
  throw new ApiError(404, NOT_EXPORTED);
}

async function answer(path, params = {}) {
  const exported = await data();
  const file = params.file || "out";
  const stored = exported.replies[`${path}?file=${file}`] || exported.replies[path];
  if (stored) return stored;
  if (path.startsWith("compare")) return comparison(exported.replies, path, params);
  const [, run, route, n, detail] = /^runs\/(\w+)\/(\w+)(?:\/(\d+)\/(\w+))?$/.exec(path) || [];
  if (route === "rows" && detail === "about") return rowOf(exported, run, file, Number(n))[2] || { n: Number(n), roles: {}, read: [], samples: [], failure: null };
  if (route === "rows" && detail === "calls") return { calls: rowOf(exported, run, file, Number(n))[3] || [], complete: true };
  if (route === "rows" && detail === "prompt") return { known: false, messages: null, note: NOT_EXPORTED };
  const columns = exported.replies[`runs/${run}/columns?file=${file}`]?.columns || [];
  const found = { rows: page, facets, histogram }[route];
  if (!found) throw new ApiError(404, NOT_EXPORTED);
  return found(exported.rows[run]?.[file], columns, params);
}

function comparison(replies, path, { runs, side, n, offset = 0, limit }) {
  const found = replies[`${path}?runs=${runs}${side ? `&side=${side}` : n ? `&n=${n}` : ""}`];
  if (!found) throw new ApiError(404, NOT_EXPORTED);
  return found.rows ? { ...found, rows: found.rows.slice(offset, offset + limit) } : found;
}

function rowOf(exported, run, file, n) {
  const found = exported.rows[run]?.[file]?.rows.find((row) => row[0] === n);
  if (!found) throw new ApiError(404, NOT_EXPORTED);
  return found;
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

/** Return [name, value] of each field, and of each field in a nested object. */
export function flatEntries(row) {
  return Object.entries(row).flatMap(([name, value]) =>
    isObject(value) && Object.keys(value).length ? Object.entries(value).map(([inner, each]) => [`${name}.${inner}`, each]) : [[name, value]],
  );
}

function page(rows, columns, params) {
  const total = rows?.total || 0;
  const found = select(rows, columns, params);
  const offset = Number(params.offset || 0);
  const names = params.fields ? new Set(JSON.parse(params.fields)) : null;
  const shown = found.slice(offset, offset + Number(params.limit || 50)).map(([n, row]) => shownRow(n, row, columns, names));
  return {
    file: params.file || "out", rows_in_file: total, indexed: total, complete: true, scanned: 1, total: found.length, behind: 0,
    counted: true, search: params.q ? { scanned: 1, complete: true, hits: found.length } : null, rows: shown,
  };
}

function shownRow(n, row, columns, names) {
  const cells = {};
  const lengths = {};
  for (const [name, value] of flatEntries(row)) {
    if (names && !names.has(name)) continue;
    const isPlain = value === null || typeof value === "number" || typeof value === "boolean";
    const text = isPlain ? "" : typeof value === "string" ? value : JSON.stringify(value);
    cells[name] = isPlain ? value : [...text.slice(0, 2 * MAX_CHARACTERS)].slice(0, MAX_CHARACTERS).join("");
    if (text.length > cells[name]?.length) lengths[name] = text.length;
  }
  const id = columns.find((column) => column.role === "id")?.name;
  return { n, id: id === undefined ? null : (Object.fromEntries(flatEntries(row))[id] ?? null), cells, lengths };
}

function select(rows, columns, { where = "", sort = "", q = "", qfield = "" }) {
  const test = compile(where, columns);
  const needle = q.toLowerCase();
  const found = (rows?.rows || []).filter(([, row]) => test(row) && (!q || contains(qfield ? value(row, qfield, columns) : row, needle)));
  if (!sort) return found;
  const name = sort.replace(/^-/, "");
  const sign = sort.startsWith("-") ? -1 : 1;
  const key = (entry) => value(entry[1], name, columns);
  return found.map((entry) => [key(entry), entry]).sort(([a, x], [b, y]) => compareKeys(a, b, sign) || x[0] - y[0]).map(([, entry]) => entry);
}

function compareKeys(a, b, sign) {
  const [x, y] = [numberIn(a), numberIn(b)];
  return (a === null) - (b === null) || (x === null) - (y === null) || sign * (x - y || (a < b ? -1 : a > b ? 1 : 0));
}

/** Return the number that a value or text is, else null. */
const numberIn = (value) =>
  typeof value === "number" ? value : /\d/.test(value) && !/[^-+\d.,$]/.test(value) ? parseFloat(`${value}`.replace(/[,$]/g, "")) : null;

/** Return the value of a column in a row, null if it has none. `NAME.len` is the length of a text. */
export function value(row, name, columns) {
  const flat = Object.fromEntries(flatEntries(row));
  const byRole = (role) => columns.find((column) => column.role === role && column.name in flat)?.name;
  if (name === "ending" && !("ending" in flat)) return flat[byRole("ending")] ?? null;
  if (name in flat) return flat[name] ?? null;
  const source = name.endsWith(".len") ? name.slice(0, -4) : null;
  const text = source && flat[byRole(source) ?? source];
  return typeof text === "string" ? [...text].length : null;
}

function contains(searched, needle) {
  if (typeof searched === "string") return searched.toLowerCase().includes(needle);
  return searched !== null && typeof searched === "object" && Object.values(searched).some((each) => contains(each, needle));
}

function facets(rows, columns, params) {
  const counts = new Map();
  for (const [, row] of select(rows, columns, params)) {
    const each = value(row, params.field, columns);
    counts.set(each, (counts.get(each) || 0) + 1);
  }
  const missing = counts.get(null) || 0;
  counts.delete(null);
  const values = [...counts].sort((a, b) => b[1] - a[1]).map(([each, count]) => ({ value: each, count }));
  const others = values.slice(50).reduce((sum, each) => sum + each.count, 0);
  return { field: params.field, values: values.slice(0, 50), others, distinct: values.length, missing, partial: false };
}

function histogram(rows, columns, params) {
  const all = select(rows, columns, params).map(([, row]) => value(row, params.field, columns));
  const numbers = all.filter((each) => typeof each === "number");
  const missing = all.length - numbers.length;
  if (!numbers.length) return { field: params.field, edges: [], counts: [], missing, partial: false };
  const low = numbers.reduce((a, b) => Math.min(a, b));
  const high = numbers.reduce((a, b) => Math.max(a, b));
  const bins = Number(params.bins || 20);
  const isFew = Number.isInteger(low) && Number.isInteger(high) && high - low < bins;
  const width = isFew ? 1 : (high - low) / bins;
  const counts = new Array(isFew ? high - low + 1 : bins).fill(0);
  for (const each of numbers) counts[Math.min(Math.floor((each - low) / width), counts.length - 1)] += 1;
  return { field: params.field, edges: [...counts.keys(), counts.length].map((k) => low + width * k), counts, missing, partial: false };
}

const TOKEN = /\s*(?:("(?:[^"\\]|\\.)*")|(!=|<=|>=|[=<>~()])|([^\s"()=!<>~]+))/suy;
const OPERATORS = {
  "=": (a, b) => a === b || (a !== null && b !== null && String(a) === String(b)),
  "!=": (a, b) => !OPERATORS["="](a, b),
  "<": (a, b) => a !== null && a < b,
  "<=": (a, b) => a !== null && a <= b,
  ">": (a, b) => a !== null && a > b,
  ">=": (a, b) => a !== null && a >= b,
  "~": (a, b) => contains(typeof a === "number" ? String(a) : a, String(b).toLowerCase()),
};

/** Return a function of a row for a filter; the language is that of the server's where.py. */
export function compile(text, columns = []) {
  const tokens = [];
  TOKEN.lastIndex = 0;
  const end = text.trimEnd().length;
  while (TOKEN.lastIndex < end) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (!match) throw new ApiError(400, `Unexpected character at character ${at + 1}.`);
    tokens.push({ text: match[1], mark: match[2], word: match[3] });
  }
  let next = 0;
  const fail = (what) => {
    throw new ApiError(400, `${what} at part ${next + 1} of the filter.`);
  };
  const take = (wanted) => {
    const token = tokens[next];
    const isIt = token && !token.text && (token.mark || token.word.toLowerCase()) === wanted;
    if (isIt) next += 1;
    return isIt;
  };
  const joined = (word, part, join) => {
    const parts = [part()];
    while (take(word)) parts.push(part());
    return (row) => parts[join]((each) => each(row));
  };
  const or = () => joined("or", and, "some");
  const and = () => joined("and", not, "every");
  const not = () => {
    if (take("not")) {
      const inner = not();
      return (row) => !inner(row);
    }
    if (!take("(")) return comparison();
    const inner = or();
    if (!take(")")) fail("Expected ')'");
    return inner;
  };
  const comparison = () => {
    const name = tokens[next++];
    if (!name || name.mark) fail("Expected a field or a quoted text");
    const operator = OPERATORS[tokens[next]?.mark];
    if (!operator) {
      if (!name.text) fail("Expected a comparison");
      const needle = unquoted(name).toLowerCase();
      return (row) => contains(row, needle);
    }
    const constant = tokens[next + 1];
    next += 2;
    if (!constant || constant.mark) fail("Expected a value");
    const wanted = constantOf(constant);
    return (row) => operator(value(row, unquoted(name), columns), wanted);
  };
  if (!tokens.length) return () => true;
  const test = or();
  if (next < tokens.length) fail("Unexpected word");
  return test;
}

const unquoted = (token) => (token.text ? token.text.slice(1, -1).replace(/\\(.)/gsu, "$1") : token.word);
const CONSTANTS = { true: true, false: false, null: null };

function constantOf(token) {
  if (token.text) return unquoted(token);
  if (token.word.toLowerCase() in CONSTANTS) return CONSTANTS[token.word.toLowerCase()];
  return /^-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(token.word) ? Number(token.word) : token.word;
}
