// One row: what was asked, what came back, and why it has this score.
import { html, useEffect, useState } from "./dom.js";
import { t } from "./words.js";
import { bytes, clockTime, count, duration, measure } from "./format.js";
import { formatRoute, go } from "./route.js";
import { get, request } from "./api.js";
import { saveBlob } from "./shared.js";
import { useData } from "./load.js";
import { useKeys } from "./keys.js";
import { asText, Line, Text } from "./text.js";
import { columnWord } from "./columns.js";
import { quoteValue } from "./bars.js";
import { Copy, copyText, ErrorBox, Link, Table } from "./parts.js";
import { Calls, Prompt } from "./row_calls.js";
import { viewOf } from "./rows.js";

/** Load the whole line of a row, in parts of 1 MiB as the server gives them. */
function useLine(run, n, file) {
  const [state, setState] = useState({ text: "", size: 0, error: null });
  const [limit, setLimit] = useState(1);
  useEffect(() => {
    const abort = new AbortController();
    const load = async () => {
      const parts = [];
      let size = 0;
      let from = 0;
      do {
        const response = await request(`runs/${run}/rows/${n}`, { file, from: from || "" }, abort.signal);
        const part = await response.arrayBuffer();
        size = Number(response.headers.get("X-Total-Bytes")) || part.byteLength;
        from += part.byteLength;
        parts.push(part);
        if (part.byteLength === 0) break;
      } while (from < size && parts.length < limit);
      setState({ text: await new Blob(parts).text(), size, isWhole: from >= size, error: null });
    };
    setState((old) => ({ ...old, error: null }));
    load().catch((error) => error.name !== "AbortError" && setState({ text: "", size: 0, error }));
    return () => abort.abort();
  }, [run, n, file, limit]);
  return { ...state, loadAll: () => setLimit(Infinity) };
}

const parse = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
};

export function RowPage({ route }) {
  const view = viewOf(route.params);
  const line = useLine(route.run, route.row, view.file);
  const about = useData(`runs/${route.run}/rows/${route.row}/about`, { file: view.file });
  const at = Number(route.params.at ?? -1);
  const size = useData(at >= 0 ? `runs/${route.run}/rows` : null, { ...view, offset: Math.max(0, at), limit: 1 });
  const total = size.data?.total ?? 0;
  const back = { page: "rows", run: route.run, params: { ...route.params } };
  const [error, setError] = useState(null);
  const step = async (change) => {
    const next = at + change;
    if (at < 0 || next < 0 || next >= total) return;
    try {
      const { rows } = await get(`runs/${route.run}/rows`, { ...view, offset: next, limit: 1, fields: '["id"]' });
      if (rows.length) go({ ...route, row: rows[0].n, params: { ...route.params, at: next } }, true);
    } catch (problem) {
      setError(problem);
    }
  };
  useKeys([
    ["n , ArrowRight", () => step(1), t("next row")],
    ["p , ArrowLeft", () => step(-1), t("previous row")],
    ["Escape", () => go(back), t("back to the rows")],
    ["y", () => copyText(location.href), t("copy a link to this row")],
  ]);
  const row = line.isWhole ? parse(line.text) : null;
  const info = about.data;
  const isCall = view.file === "calls";
  return html`<section class="page scroll" aria-labelledby="title">
    <div class="toolbar"><h1 id="title" tabindex="-1">${t("Row")} <${Line} value=${info?.id ?? row?.id ?? `#${route.row + 1}`} /></h1>
      <${Link} to=${back} class="button">${t("back to the rows")}<//>
      ${at >= 0 && html`<button onClick=${() => step(-1)} disabled=${at <= 0}>← ${t("previous")}</button><span>${t("{n} of {total}", { n: count(at + 1), total: count(total) })}</span>
        <button onClick=${() => step(1)} disabled=${at + 1 >= total}>${t("next")} →</button>`}
      <${Copy} text=${location.href.replace(/#.*/, "") + formatRoute(route)} label=${t("copy a link")} /></div>
    <${ErrorBox} error=${line.error || about.error || error} />
    ${line.size > 0 && !line.isWhole && html`<p class="note">${t("This row has {size}. The first part is below as it is in the file.", { size: bytes(line.size) })}
      <button onClick=${line.loadAll}>${t("Load all of it")}</button></p>`}
    ${line.isWhole && row === null && html`<${ErrorBox} error=${{ status: -1, message: t("This line is not valid JSON.") }} />`}
    ${row && info && html`<${Scores} row=${row} info=${info} />`}
    ${info?.failure && html`<${Failure} failure=${info.failure} />`}
    ${!isCall && info && html`<${Prompt} run=${route.run} n=${route.row} file=${view.file} question=${row && field(row, info.roles.question)} />`}
    ${row && info && html`<${Answer} row=${row} info=${info} search=${view.q} />`}
    ${row && info && html`<${Verdict} row=${row} roles=${info.roles} />`}
    ${!isCall && view.file === "out" && html`<${Calls} run=${route.run} n=${route.row} />`}
    ${info?.samples.length > 1 && html`<${Samples} info=${info} route=${route} />`}
    ${row && html`<${Fields} row=${row} info=${info} />`}
    <details class="panel" open=${line.size > 0 && row === null}><summary>${t("The line as it is in the file")} <small>${bytes(line.size)}</small></summary>
      <p><${Copy} text=${line.text} /> <button class="small" onClick=${() => saveBlob(new Blob([line.text]), `row-${route.row}.json`)}>${t("save")}</button></p>
      <${Text} value=${line.text} search=${view.q} /></details>
  </section>`;
}

/** Return a field by its flat name: "score.strict-match" is the key of an object in the row. */
export function field(row, name) {
  if (!name || !row) return undefined;
  if (name in row) return row[name];
  const dot = name.indexOf(".");
  return dot > 0 ? row[name.slice(0, dot)]?.[name.slice(dot + 1)] : undefined;
}

function Scores({ row, info }) {
  if (!info.read.length) return null;
  const target = field(row, info.roles.target);
  return html`<dl class="figures">${info.read.map((each) => html`<div class="figure"><dt><${Line} value=${each.name} /></dt>
    <dd><span class=${each.score >= 1 ? "good" : "bad"}>${each.score >= 1 ? `✓ ${t("right")}` : each.score > 0 ? measure(each.score) : `✗ ${t("wrong")}`}</span>
      <small>${each.text ? html`${t("read:")} <${Line} value=${each.text} />` : t("nothing read")}${target !== undefined && html` · ${t("right answer:")} <${Line} value=${asText(target)} />`}</small></dd></div>`)}</dl>`;
}

function Failure({ failure }) {
  return html`<section class="panel bad"><h2>${t("This row failed")}: <${Line} value=${failure.kind} /></h2>
    <p><${Line} value=${failure.error} /></p>
    <p class="muted">${failure.status ? `${t("status {n}", { n: failure.status })} · ` : failure.kind === "call_error" ? `${t("no response")} · ` : ""}${t("attempts of the last call: {n}", { n: count(failure.attempts) })}</p>
    ${failure.last_text && html`<h3>${t("The last text of the server")}</h3><${Text} value=${failure.last_text} />`}</section>`;
}

function Answer({ row, info, search }) {
  const { roles } = info;
  const answer = field(row, roles.answer);
  if (answer === undefined || answer === null || (info.failure && answer === info.failure.last_text)) return null;
  const text = asText(answer);
  const read = info.read.find((each) => each.start !== null && each.score < 1) || info.read.find((each) => each.start !== null);
  const reasoning = field(row, roles.reasoning);
  const isTruncated = (row.finish_reason ?? field(row, roles.ending)) === "length";
  return html`<section class="panel"><h2>${t("Answer")} <small class="muted">${t("{n} characters", { n: count(text.length) })}</small>
    ${isTruncated && html` <strong class="warn">${t("truncated at max_tokens")}</strong>`} <${Copy} text=${text} /></h2>
    ${read && html`<p class="muted">${t("Marked: what {name} read.", { name: read.name })}</p>`}
    ${info.read.length > 0 && !read && html`<p class="muted">${t("What was read is not in the text as it stands.")}</p>`}
    ${reasoning && html`<details><summary>${t("Thinking text")} <small>${t("{n} characters", { n: count(asText(reasoning).length) })}</small></summary><${Text} value=${reasoning} search=${search} /></details>`}
    <${Text} value=${text} found=${read && text.slice(read.start, read.end)} search=${search} label=${t("Answer")} /></section>`;
}

/** The verdict of a judge and the replies in which it is. */
function Verdict({ row, roles }) {
  const verdict = field(row, roles.verdict);
  const replies = field(row, roles.replies);
  if (verdict === undefined && replies === undefined) return null;
  return html`<section class="panel"><h2>${t("Verdict")}: <${Line} value=${asText(verdict)} /></h2>
    ${[replies ?? []].flat().map((reply) => html`<div class="message">
      <h3>${t("What the judge said")}${reply.swapped && `, ${t("the answers in the other order")}`}${reply.verdict !== undefined && html`: <${Line} value=${asText(reply.verdict)} />`}</h3>
      <${Text} value=${asText(reply.text ?? reply)} /></div>`)}</section>`;
}

function Samples({ info, route }) {
  return html`<section class="panel"><h2>${t("Samples of the same question")}</h2><p class="actions">${info.samples.map((each) => html`<${Link}
    to=${{ ...route, row: each.n, params: { ...route.params, at: "" } }} class="button" current=${each.n === route.row}><${Line} value=${each.id} /> ${Object.values(each.scores).map((score) => (score >= 1 ? "✓" : "✗")).join(" ")}<//> `)}</p></section>`;
}

function Fields({ row, info }) {
  const shown = new Set([info?.roles.answer, info?.roles.reasoning]);
  const rows = Object.entries(row).filter(([name]) => !shown.has(name));
  const columns = [
    { label: t("Field"), cell: ([name]) => html`<${Line} value=${columnWord(name)} />` },
    { label: t("Value"), cell: ([, value]) => html`<${Text} value=${asText(value)} />` },
  ];
  return html`<section class="panel"><h2>${t("Fields")}</h2><${Table} label=${t("Fields")} columns=${columns} rows=${rows} empty="" /></section>`;
}
