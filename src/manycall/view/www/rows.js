// Rows of a file: which are wrong, truncated, failed or unusual?
import { html, useEffect, useRef, useState } from "./dom.js";
import { t } from "./words.js";
import { count, percent } from "./format.js";
import { go } from "./route.js";
import { get, download } from "./api.js";
import { untilCounted, useData, useSettled } from "./load.js";
import { useKeys } from "./keys.js";
import { Grid } from "./grid.js";
import { addCondition, Filter } from "./filter.js";
import { chosenColumns, columnWord, ColumnChooser, gridColumn, writeColumns } from "./columns.js";
import { Distributions } from "./distributions.js";
import { Choice, copyText, ErrorBox, leaveField } from "./parts.js";

const INDEXING_MS = 250;
const SEARCHING_MS = 1; // The server searches while a request waits.
const GROWING_MS = 4000;
const URL_DELAY_MS = 250;
const TYPING_MS = 120;

/** Return the parameters that identify a view of rows. */
export const viewOf = ({ file = "out", where = "", sort = "", q = "" }) => ({ file, where, sort, q });

export function RowsPage({ route, runState }) {
  return html`<section class="page" aria-labelledby="title">
    <h1 id="title" tabindex="-1">${t("Rows")}</h1>
    <${RowsBody} route=${route} runState=${runState} />
  </section>`;
}

/** Quick filters, search, filter, distributions and the grid; the page of a judged run has the same below its figures. */
export function RowsBody({ route, runState, isShort = false }) {
  const { params } = route;
  const view = viewOf(params);
  const set = (changes, replace = true) => go({ ...route, params: { ...params, ...changes } }, replace);
  const filters = useData(`runs/${route.run}/columns`, {}, untilCounted);
  const others = useData(view.file === "out" ? null : `runs/${route.run}/columns`, { file: view.file });
  const info = view.file === "out" ? filters : others;
  const columns = info.data?.columns || [];
  const chosen = chosenColumns(columns, params.cols || "", view.file);
  const fields = chosen.length ? JSON.stringify(chosen.map(({ name }) => name)) : ""; // A name may contain a comma.
  const isReady = info.data !== null;
  const [round, setRound] = useState(0); // How often the user has asked for an order with the newest rows.
  const status = useData(isReady ? `runs/${route.run}/rows` : null, { ...view, fields, offset: 0, limit: 50, refresh: round ? 1 : "", round: round || "" }, (data) => pause(data, runState));
  const [search, filter, sorter] = [useRef(), useRef(), useRef()];
  const [error, setError] = useState(null);
  const version = JSON.stringify([route.run, view, fields, (view.where || view.sort) && status.data?.complete, round]);
  const shown = useRef({ data: null }); // The rows of the last view stay until those of the next one are there.
  if (status.data) shown.current = { data: status.data, version, view, fields };
  const total = shown.current.data?.total ?? 0;
  const [selected, setSelected] = useSelection(route, total, set);
  useEffect(() => setError(null), [version]);
  const fetchRows = async (offset, limit, signal) => {
    const { view: shownView, fields: shownFields } = shown.current;
    return (await get(`runs/${route.run}/rows`, { ...shownView, fields: shownFields, offset, limit }, signal)).rows;
  };
  const toRow = (row, index) => ({ page: "row", run: route.run, row: row.n, params: { ...view, file: view.file === "out" ? "" : view.file, at: index } });
  const open = (row, index) => row && go(toRow(row, index));
  const quick = filters.data?.quick || [];
  const wrong = quick.find((each) => each.name === "wrong");
  const sortBy = (name) => set({ sort: view.sort === name ? `-${name}` : view.sort === `-${name}` ? "" : name, at: "" });
  const pick = (condition) => set({ where: addCondition(view.where, condition), at: "" }, false);
  useKeys([
    ["/", () => search.current.focus(), t("search in the texts")],
    ["f", () => filter.current.focus(), t("write a filter")],
    ["s", () => sorter.current.focus(), t("choose the order")],
    ["w", () => wrong && set({ file: "", where: view.where === wrong.where ? "" : wrong.where, at: "" }, false), t("wrong rows only, or all rows")],
    ["y", () => copyText(location.href.replace(/#.*/, "") + location.hash), t("copy a link to these rows")],
  ]);
  const filterError = status.error?.status === 400 ? status.error : null;
  return html`
    <${ErrorBox} error=${info.error || (filterError ? null : status.error || error)} />
    <div class="toolbar">
      <${Quick} quick=${quick} view=${view} onPick=${(each) => set({ file: each.file === "out" ? "" : each.file, where: each.where, at: "" }, false)} />
      <${SearchField} inputRef=${search} value=${view.q} onChange=${(q) => set({ q, at: "" })} />
    </div>
    <div class="toolbar">
      <${Filter} where=${view.where} onChange=${(where) => set({ where, at: "" }, false)} error=${filterError} inputRef=${filter} />
      <label>${t("Order")} <select ref=${sorter} value=${view.sort} onChange=${(event) => set({ sort: event.target.value, at: "" })}>
        <option value="">${t("as in the file")}</option>
        ${sortNames(columns, view.sort).flatMap((name) => [html`<option value=${name}>${columnWord(name)} ↑</option>`, html`<option value=${`-${name}`}>${columnWord(name)} ↓</option>`])}
      </select></label>
      <${ColumnChooser} columns=${columns} chosen=${chosen} onChange=${(next) => set({ cols: writeColumns(next) })} />
      <button onClick=${() => download(`runs/${route.run}/export`, view, "rows.jsonl").catch(setError)}>${t("Save these rows")}</button>
    </div>
    ${!isShort && shown.current.data && html`<${Distributions} run=${route.run} columns=${columns} ...${shown.current.view} onPick=${pick} isComplete=${shown.current.data.complete} />`}
    ${shown.current.data && !filterError && html`<${Grid} label=${t("Rows")} columns=${chosen.map((column) => gridColumn(column, view.q, toRow))} total=${total} version=${shown.current.version} seed=${shown.current.data.rows}
      fetchRows=${fetchRows} selected=${selected} onSelect=${setSelected} onOpen=${open} sort=${view.sort} onSort=${sortBy} onError=${setError} />`}
    ${status.data?.behind > 0 && html`<p class="note" role="status">${t("{n} more rows have come.", { n: count(status.data.behind) })} <button class="small" onClick=${() => setRound(round + 1)}>${t("Show them")}</button></p>`}
    <${Status} data=${status.data} view=${view} selected=${selected} loading=${!status.error} />`;
}

/** How long to wait before the server is asked again: it indexes, searches, or the file grows. */
function pause(data, runState) {
  if (data.search && !data.search.complete) return SEARCHING_MS;
  if (!data.complete || !data.counted) return INDEXING_MS;
  return runState === "running" ? GROWING_MS : 0;
}

/**
 * The selected row. It is written to the address once it has settled, because browsers limit changes of the address. What
 * was written must not come back as a selection: the user may have moved on.
 */
function useSelection(route, total, set) {
  const at = Number(route.params.at) || 0;
  const [selected, setSelected] = useState(at);
  const written = useRef(at);
  const settled = useSettled(selected, URL_DELAY_MS);
  const select = (row) => ((written.current = row), setSelected(row));
  useEffect(() => select(at), [route.run, JSON.stringify(viewOf(route.params))]);
  useEffect(() => {
    if (at !== written.current) select(at);
  }, [at]);
  useEffect(() => {
    if (settled === at || settled !== selected) return;
    written.current = settled;
    set({ at: settled || "" });
  }, [settled]);
  return [Math.min(selected, Math.max(0, total - 1)), setSelected];
}

function Quick({ quick, view, onPick }) {
  const words = {
    all: t("all"), wrong: t("wrong"), truncated: t("truncated"), failed: t("failed"), rejected: t("rejected"), unread: t("nothing read"),
    flipped: t("flipped with the order"),
  };
  const options = quick.map((each) => ({ value: JSON.stringify([each.file, each.where]), label: html`${words[each.name] || each.name} <small>${each.count === null ? "…" : count(each.count)}</small>`, each }));
  return html`<${Choice} label=${t("Quick filters")} options=${options} value=${JSON.stringify([view.file, view.where])} onChange=${(value) => onPick(options.find((option) => option.value === value).each)} />`;
}

function SearchField({ value, onChange, inputRef }) {
  const [draft, setDraft] = useState(value);
  const settled = useSettled(draft, TYPING_MS);
  useEffect(() => setDraft(value), [value]);
  useEffect(() => {
    if (settled !== value && settled === draft) onChange(settled);
  }, [settled]);
  return html`<label class="search"><span class="sr">${t("Search")}</span><input type="search" ref=${inputRef} value=${draft} placeholder=${t("Search in the texts")}
    onInput=${(event) => setDraft(event.target.value)} onKeyDown=${leaveField} /></label>`;
}

const sortNames = (columns, sort) => {
  const names = columns.filter((column) => column.indexed || column.type === "number").map((column) => column.name);
  for (const length of ["answer.len", "question.len"]) if (columns.some((column) => `${column.role}.len` === length)) names.push(length);
  const current = sort.replace(/^-/, "");
  return current && !names.includes(current) ? [...names, current] : names;
};

function Status({ data, view, selected, loading }) {
  if (!data) return html`<p class="status muted" role="status">${loading ? t("Loading …") : ""}</p>`;
  const parts = [t("{n} of {total} rows", { n: `${count(data.total)}${data.counted ? "" : "+"}`, total: count(data.rows_in_file) })];
  if (data.total) parts.push(t("row {n} selected", { n: count(selected + 1) }));
  if (view.sort) parts.push(t("ordered by {column}", { column: `${columnWord(view.sort.replace(/^-/, ""))} ${view.sort.startsWith("-") ? "↓" : "↑"}` }));
  if (data.search && !data.search.complete) parts.push(t("searched {share}", { share: percent(data.search.scanned, 0) }));
  if (!data.complete) parts.push(t("indexed {share}", { share: percent(data.rows_in_file ? (data.indexed / data.rows_in_file) * data.scanned : data.scanned, 0) }));
  return html`<p class="status muted" role="status">${parts.join(" · ")}</p>`;
}
