// Which columns a table of rows has, how wide they are and how their cells look.
import { html } from "./dom.js";
import { t } from "./words.js";
import { count, measure } from "./format.js";
import { Line } from "./text.js";
import { Link } from "./parts.js";

const SHOWN_ROLES = ["id", "score", "verdict", "ending", "extracted", "target", "question", "answer"];
const JUDGED_ROLES = ["id", "verdict", "replies", "question", "answer"];
const FILE_NAMES = {
  failures: ["id", "kind", "error", "attempts", "status", "last_text"], rejected: ["id", "reason"],
  calls: ["id", "at", "seconds", "ttft", "endpoint", "model", "attempts", "body"],
};
const WIDTHS = { id: 130, score: 110, verdict: 110, ending: 120, extracted: 110, target: 110, question: 320, answer: 420, reasoning: 320, replies: 420 };
const MIN_WIDTH = 60;
const MAX_DEFAULT = 9;

/** Return the chosen columns as {name, role, type, width}: those in the address, else those with a known role. */
export function chosenColumns(columns, text, file = "out") {
  const known = new Map(columns.map((column) => [column.name, column]));
  if (text) {
    return text.split(",").map((each) => {
      const [, name, width] = /^(.*?)(?::(\d+))?$/s.exec(each);
      const column = known.get(decodeURIComponent(name)) || { name: decodeURIComponent(name), role: "", type: "text" };
      return { ...column, width: Number(width) || WIDTHS[column.role] || 140 };
    });
  }
  const roles = columns.some((column) => column.role === "verdict") ? JUDGED_ROLES : SHOWN_ROLES;
  const named = FILE_NAMES[file]
    ? FILE_NAMES[file].flatMap((name) => columns.filter((column) => column.name === name))
    : roles.flatMap((role) => columns.filter((column) => column.role === role));
  const others = columns.filter((column) => !named.includes(column) && column.role !== "reasoning");
  const chosen = named.length > 1 ? named : [...named, ...others];
  return chosen.slice(0, MAX_DEFAULT).map((column) => ({ ...column, width: column.name === "error" ? 460 : WIDTHS[column.role] || (column.type === "text" ? 220 : 110) }));
}

/** Return the columns as a parameter of the address. */
export const writeColumns = (columns) => columns.map(({ name, width }) => `${encodeURIComponent(name)}:${width}`).join(",");

/** Return what a column is called: names of the project's fields in words, other names unchanged. */
export function columnWord(name) {
  const words = { "answer.len": t("length of the answer"), "question.len": t("length of the question"), ending: t("ending") };
  if (name.endsWith("finish_reason")) return name === "judge_finish_reason" ? `${t("ending")} (judge)` : t("ending");
  return words[name] || name.replace(/^(score|extracted|scores)\./, "");
}

/** Return a column of the grid for a column of the file. The id links to its row. */
export function gridColumn(column, search, toRow) {
  const prefix = { extracted: `${t("read")}: `, target: `${t("right")}: ` }[column.role] || "";
  return {
    label: html`${prefix}<${Line} value=${columnWord(column.name)} />`,
    width: column.width,
    number: column.type === "number",
    sort: column.indexed || column.type === "number" ? column.name : null,
    cell: (row, index) => (column.role === "id" ? html`<${Link} tabindex="-1" to=${toRow(row, index)}>${cell(column, row, search)}<//>` : cell(column, row, search)),
  };
}

function cell(column, row, search) {
  if ("damaged_at" in row && column.role === "id") return html`<span class="bad">${t("damaged at byte {n}", { n: count(row.damaged_at) })}</span>`;
  const value = row.cells[column.name] ?? (column.role === "id" ? row.id : null);
  if (value === null || value === undefined) return "";
  if (column.role === "score" && typeof value === "number") return scoreMark(value);
  if (typeof value === "number") return Number.isInteger(value) ? count(value) : measure(value);
  if (column.role === "ending" && value === "length") return html`<span class="warn">${t("truncated")}</span>`;
  return html`<${Line} value=${value} search=${search} />`;
}

/** A score in the colour of right or wrong. */
export const scoreMark = (value) =>
  html`<span class=${value >= 1 ? "good" : value <= 0 ? "bad" : "warn"}>${value === 1 ? "✓ 1" : value === 0 ? "✗ 0" : measure(value)}</span>`;

/** The dialog with a check box and widths for each column. */
export function ColumnChooser({ columns, chosen, onChange }) {
  const toggle = (column, on) => onChange(on ? [...chosen, { ...column, width: WIDTHS[column.role] || 140 }] : chosen.filter(({ name }) => name !== column.name));
  const resize = (column, factor) => onChange(chosen.map((each) => (each.name === column.name ? { ...each, width: Math.max(MIN_WIDTH, Math.round(each.width * factor)) } : each)));
  const shown = [...chosen, ...columns.filter((column) => !chosen.some(({ name }) => name === column.name))];
  return html`<details class="menu" onKeyDown=${(event) => event.key === "Escape" && closeMenu(event)}><summary class="button">${t("Columns")}</summary>
    <ul>${shown.map((column) => {
      const isOn = chosen.includes(column);
      return html`<li key=${column.name}><label class="check"><input type="checkbox" checked=${isOn} onChange=${(event) => toggle(column, event.target.checked)} /><${Line} value=${column.name} /></label>
        ${isOn && html`<span><button class="small" aria-label=${t("narrower: {column}", { column: column.name })} onClick=${() => resize(column, 0.75)}>−</button>
          <button class="small" aria-label=${t("wider: {column}", { column: column.name })} onClick=${() => resize(column, 1.33)}>+</button></span>`}</li>`;
    })}</ul></details>`;
}

function closeMenu(event) {
  event.currentTarget.open = false;
  event.currentTarget.querySelector("summary").focus();
}
