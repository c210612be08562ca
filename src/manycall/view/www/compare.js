// Two or more runs: which is better, by how much, and on which questions?
import { html, useEffect, useRef, useState } from "./dom.js";
import { say, t } from "./words.js";
import { count, pValue, score } from "./format.js";
import { go } from "./route.js";
import { get } from "./api.js";
import { useData, useSlow } from "./load.js";
import { useKeys } from "./keys.js";
import { Grid } from "./grid.js";
import { scoreMark } from "./columns.js";
import { asText, Difference, line, Text } from "./text.js";
import { Choice, Copy, copyText, ErrorBox, Link, Slow, Table } from "./parts.js";

const INDEXING_MS = 500;
const SIDES = ["differ", "lost", "won", "both_wrong", "both_right", "same", "only_first", "only_other"];

export function ComparePage({ route }) {
  const { params } = route;
  const runs = (params.runs || "").split(",").filter(Boolean);
  const list = useData("runs");
  const names = runs.map((id) => list.data?.runs.find((run) => run.id === id));
  const answer = useSlow(runs.length > 1 ? "compare" : null, { runs: params.runs, allow: params.allow, force: params.force });
  const labels = shortNames(runs.map((id, index) => names[index]?.name || id));
  const command = `manycall compare ${names.map((run) => run?.argument || "?").join(" ")}`;
  useKeys([["c", () => copyText(command), t("copy the command that does the same")]]);
  if (runs.length < 2) return html`<section class="page"><h1 id="title" tabindex="-1">${t("Compare")}</h1><p>${t("Mark two runs in the list with x and press c.")}</p></section>`;
  return html`<section class="page scroll" aria-labelledby="title">
    <h1 id="title" tabindex="-1">${t("Compare")} <small class="muted">${names.map((run, index) => html`${index ? ` ${t("against")} ` : ""}${line(run?.name || runs[index])}`)}</small></h1>
    <${Slow} answer=${answer} what=${t("Comparing …")}>${(result) => html`<${Differences} result=${result} labels=${labels} />`}<//>
    <p class="muted"><code>${line(command)}</code> <${Copy} text=${command} /></p>
    <${Questions} route=${route} runs=${runs} labels=${labels} />
  </section>`;
}

/** Return the names of runs without the folder that all of them are in. */
function shortNames(names) {
  let end = 0;
  while (end < names[0]?.length && names.every((name) => name[end] === names[0][end])) end += 1;
  const from = names[0]?.lastIndexOf("/", end - 1) + 1;
  return names.map((name) => name.slice(from).replace(/\.jsonl$/, ""));
}

function Differences({ result, labels }) {
  const nameOf = (number) => labels[number - 1]; // Runs are numbered from 1.
  const [first, other] = [nameOf(1), result.runs.length > 2 ? t("other") : nameOf(2)];
  const columns = [
    { label: t("Score"), cell: (each) => line(each.metric) },
    ...(result.runs.length > 2 ? [{ label: t("Run"), cell: (each) => line(nameOf(each.run)) }] : []),
    { label: line(first), number: true, cell: (each) => score(each.difference.first) },
    { label: line(other), number: true, cell: (each) => score(each.difference.second) },
    { label: line(`${other} − ${first} [95 %]`), number: true, cell: (each) => `${signed(each.difference.value)} ${interval(each.difference.interval)}` },
    { label: t("Significance"), cell: significance },
    { label: line(t("{other} better · {first} better · equal", { first, other })), number: true, cell: ({ difference }) => [difference.wins, difference.losses, difference.ties].map(count).join(" · ") },
  ];
  return html`<${Verdict} each=${result.differences[0]} nameOf=${nameOf} />
    <${Table} label=${t("Differences")} columns=${columns} rows=${result.differences} empty=${t("The runs have no score in common.")} />
    ${result.setting_differences?.length > 0 && html`<p class="muted">${t("The settings differ in:")} ${result.setting_differences.map((each) => html`<code>${line(asText(each))}</code> `)}</p>`}
    ${result.runs.map((run) => run.incomplete && html`<p class="note">${line(say(run.incomplete))}</p>`)}`;
}

function significance(each) {
  const p = each.p_value_holm ?? each.difference.p_value;
  if (p == null) return "–";
  return p < 0.05 ? t("significant, p = {p}", { p: pValue(p) }) : t("not significant, p = {p}", { p: pValue(p) });
}

/** Say in a sentence which run is better, and whether that is more than chance. */
function Verdict({ each, nameOf }) {
  if (!each) return null;
  const { value } = each.difference;
  const better = value === 0 ? null : nameOf(value > 0 ? each.run : 1);
  if (!better) return html`<p class="lead">${t("Both runs have the same {metric}.", { metric: each.metric })}</p>`;
  return html`<p class="lead"><strong>${line(better)}</strong> ${t("is better by {difference} in {metric}", { difference: score(Math.abs(value)), metric: each.metric })} (${significance(each)})</p>`;
}

const signed = (value) => (value > 0 ? "+" : value < 0 ? "−" : "") + score(Math.abs(value));
const interval = (range) => (range ? `[${range.map(signed).join(", ")}]` : "");

function sideWord(side, [first, other]) {
  const words = {
    won: t("{run} is better", { run: other }), lost: t("{run} is better", { run: first }), differ: t("different"), both_right: t("both right"), both_wrong: t("both wrong"), same: t("equal"),
    only_first: t("only in {run}", { run: first }), only_other: t("only in {run}", { run: other }),
  };
  return words[side];
}

function Questions({ route, runs, labels }) {
  const { params } = route;
  const other = params.other || runs[1];
  const pair = `${runs[0]},${other}`;
  const shown = [labels[0], labels[runs.indexOf(other)]];
  const set = (changes) => go({ ...route, params: { ...params, ...changes } }, true);
  const query = { runs: pair, metric: params.metric || "" };
  const first = useData("compare/rows", { ...query, side: params.side || "won", limit: 1 }, (data) => (data.complete ? 0 : INDEXING_MS));
  const counts = first.data?.counts || {};
  const side = params.side || (counts.lost > counts.won ? "lost" : "won");
  const kept = first.data?.kept; // A static export has only so many questions of each kind.
  const total = Math.min(counts[side] ?? 0, kept ?? Infinity);
  const [selected, setSelected] = useState(0);
  const [error, setError] = useState(null);
  const [opened, setOpened] = useState(null);
  useEffect(() => (setSelected(0), setOpened(null)), [pair, side, params.metric]);
  const open = (row) => row && setOpened(row);
  useKeys([["Escape", () => setOpened(null), t("close the answers")]]);
  const columns = [
    { label: t("Id"), width: 120, cell: (row) => line(row.id) },
    { label: t("Question"), width: 330, cell: (row) => line(row.question ?? "") },
    { label: t("Right answer"), width: 110, cell: (row) => line(asText(row.target)) },
    ...[0, 1].flatMap((index) => [
      { label: line(shown[index]), width: 130, number: true, cell: (row) => (row.scores[index] == null ? "–" : scoreMark(row.scores[index])) },
      { label: t("read"), width: 100, cell: (row) => line(asText(row.extracted?.[index])) },
      { label: t("answer"), width: 220, cell: (row) => line(row.answers?.[index] ?? "") },
    ]),
  ];
  const options = SIDES.filter((name) => counts[name]).map((name) => ({ value: name, label: html`${line(sideWord(name, shown))} <small>${count(counts[name])}</small>` }));
  const fetchRows = async (offset, limit, signal) => (await get("compare/rows", { ...query, side, offset, limit }, signal)).rows;
  return html`<h2>${t("Questions")}</h2>
    <${ErrorBox} error=${first.error || error} />
    <div class="toolbar">
      ${options.length > 0 && html`<${Choice} label=${t("Which questions")} options=${options} value=${side} onChange=${(value) => set({ side: value })} />`}
      ${first.data?.metrics.length > 1 && html`<label>${t("Score")} <select value=${first.data.metric} onChange=${(event) => set({ metric: event.target.value })}>
        ${first.data.metrics.map((name) => html`<option value=${name}>${name}</option>`)}</select></label>`}
      ${runs.length > 2 && html`<label>${t("Other run")} <select value=${other} onChange=${(event) => set({ other: event.target.value })}>
        ${runs.slice(1).map((id, index) => html`<option value=${id}>${labels[index + 1]}</option>`)}</select></label>`}
      <span class="muted">${t("On the scores as written. Enter shows both answers and their difference.")}</span>
      ${kept && html`<span class="muted">${t("This page has {n} of each kind.", { n: count(kept) })}</span>`}
      ${first.data && !first.data.complete && html`<span role="status">${t("The rows are being read …")}</span>`}
    </div>
    <${Grid} label=${t("Questions")} columns=${columns} total=${total} version=${JSON.stringify([query, side, first.data?.complete])} fetchRows=${fetchRows}
      selected=${Math.min(selected, Math.max(0, total - 1))} onSelect=${setSelected} onOpen=${open} actions=${{ d: open }} onError=${setError} />
    ${opened !== null && html`<${Both} pair=${pair} row=${opened} runs=${[runs[0], other]} labels=${shown} />`}`;
}

/** Both answers to one question, with the words that differ. */
function Both({ pair, row, runs, labels }) {
  const { data, error } = useData("compare/difference", { runs: pair, n: row.n.map((n) => n ?? "").join(",") });
  const id = row.id;
  const [isDifference, setDifference] = useState(true);
  const panel = useRef();
  useEffect(() => panel.current?.scrollIntoView({ block: "nearest" }), [data]);
  if (error) return html`<${ErrorBox} error=${error} />`;
  if (!data) return null;
  const show = data.difference && isDifference;
  const side = (index, name) => html`<section class="panel"><h3>${line(labels[index])}</h3>
    ${row.n[index] == null ? html`<p class="muted">${t("not in this run")}</p>` : show ? html`<${Difference} parts=${data.difference} side=${name} />` : html`<${Text} value=${asText(data.texts[index])} />`}
  </section>`;
  return html`<div class="both" ref=${panel}><div class="toolbar"><h2>${t("Row")} ${line(id)}</h2>
    <label class="check"><input type="checkbox" checked=${show} disabled=${!data.difference} onChange=${(event) => setDifference(event.target.checked)} />${t("mark the words that differ")}</label>
    ${runs.map((run, index) => row.n[index] != null && html`<${Link} class="button" to=${{ page: "row", run, row: row.n[index] }}>${line(t("row of {run}", { run: labels[index] }))}<//>`)}</div>
    <div class="columns-2">${side(0, "first")}${side(1, "other")}</div></div>`;
}
