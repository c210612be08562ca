// All runs of a folder: what is there, and what needs attention.
import { html, useMemo, useRef } from "./dom.js";
import { say, t } from "./words.js";
import { clockTime, count, measure, money, percent, bytes, ago } from "./format.js";
import { go } from "./route.js";
import { Grid } from "./grid.js";
import { line } from "./text.js";
import { useData } from "./load.js";
import { useKeys } from "./keys.js";
import { Choice, ErrorBox, leaveField, Link, Remedy, State, STATES, stateWord } from "./parts.js";

const POLL_MS = 2000;

const progress = (run) => {
  if (!run.total) return count(run.ended);
  return run.ended >= run.total ? count(run.total) : `${percent(Math.floor((run.ended / run.total) * 1000) / 1000)} · ${count(run.ended)} / ${count(run.total)}`;
};

/** What is wrong with a run, in words. */
function problems(run) {
  const counts = [[run.failed, t("failed")], [run.rejected, t("rejected")], [run.truncated, t("truncated")]]
    .filter(([number]) => number > 0)
    .map(([number, word]) => `${count(number)} ${word}`)
    .join(", ");
  return ["stopped", "killed", "silent"].includes(run.state) ? [say(run.state_text), counts].filter(Boolean).join(" · ") : counts;
}

const matches = (run, text) => [run.name, run.job, run.model, run.note].join(" ").toLowerCase().includes(text.toLowerCase());

const Mark = ({ isMarked, onMark }) =>
  html`<button class="mark" role="checkbox" tabindex="-1" aria-checked=${`${isMarked}`} aria-label=${t("Mark for a comparison")} onClick=${onMark}>${isMarked ? "☑" : "☐"}</button>`;

const columns = (marked, mark) => [
  { label: html`<span class="sr">${t("Marked")}</span>`, width: 48, cell: (run, index) => run.kind !== "file" && html`<${Mark} isMarked=${marked.includes(run.id)} onMark=${() => mark(run, index)} />` },
  { label: t("State"), width: 100, cell: (run) => html`<${State} state=${run.state} />` },
  { label: t("Output"), width: 180, cell: (run) => line(run.name) },
  { label: t("Job"), width: 100, cell: (run) => line(run.job) },
  { label: t("Model"), width: 110, cell: (run) => line(run.model) },
  { label: t("Rows"), width: 200, number: true, cell: progress },
  { label: t("Result"), width: 230, cell: (run) => line(run.note) },
  { label: t("Cost"), width: 80, number: true, cell: (run) => (run.cost == null ? "" : money(run.cost, run.currency)) },
  { label: t("Problems"), width: 260, cell: (run) => line(problems(run)) },
  { label: t("Calls/s"), width: 70, number: true, cell: (run) => (run.state === "running" ? measure(run.calls_per_s) : "") },
  { label: t("Done about"), width: 96, number: true, cell: (run) => (run.done_at && run.state === "running" ? clockTime(run.done_at) : "") },
  { label: t("Updated"), width: 120, number: true, cell: (run) => (run.updated_at ? clockTime(run.updated_at) : "") },
];

export function RunsPage({ route }) {
  const { data, error } = useData("runs", {}, POLL_MS);
  const search = useRef();
  const { state = "", q = "", marked: markedText = "", at = "0" } = route.params;
  const marked = markedText ? markedText.split(",") : [];
  const set = (params) => go({ page: "runs", params: { ...route.params, ...params } }, true);
  const all = data?.runs || [];
  const shown = useMemo(() => all.filter((run) => (!state || run.state === state) && matches(run, q)), [data, state, q]);
  const selected = Math.min(Number(at) || 0, Math.max(0, shown.length - 1));
  const run = shown[selected];
  const mark = (one, index = selected) => {
    if (!one || one.kind === "file") return;
    set({ at: index || "", marked: (marked.includes(one.id) ? marked.filter((id) => id !== one.id) : [...marked, one.id]).join(",") });
  };
  const compare = () => marked.length > 1 && go({ page: "compare", params: { runs: marked.join(",") } });
  useKeys([
    ["/", () => search.current.focus(), t("search")],
    ["x", () => mark(run), t("mark the run for a comparison")],
    ["c", compare, t("compare the marked runs")],
  ]);
  const states = STATES.filter((name) => all.some((each) => each.state === name));
  const options = [
    { value: "", label: t("all {n}", { n: count(all.length) }) },
    ...states.map((name) => ({ value: name, className: `state-${name}`, label: html`<${State} state=${name} /> ${count(all.filter((each) => each.state === name).length)}` })),
  ];
  return html`<section class="page" aria-labelledby="title">
    <h1 id="title" tabindex="-1">${t("Runs")} ${data && html`<small class="muted">${line(data.folder)}</small>`}</h1>
    <${ErrorBox} error=${error} />
    <div class="toolbar">
      <${Choice} label=${t("State")} options=${options} value=${state} onChange=${(value) => set({ state: value, at: "" })} />
      <label class="search"><span class="sr">${t("Search")}</span><input type="search" ref=${search} placeholder=${t("Search names, jobs and models")} value=${q}
        onInput=${(event) => set({ q: event.target.value, at: "" })} onKeyDown=${leaveField} /></label>
      <button disabled=${marked.length < 2} onClick=${compare}>${marked.length < 2 ? t("Compare: mark two runs") : t("Compare {n} marked", { n: marked.length })}</button>
    </div>
    ${data && !data.complete && html`<p class="note">${t("There are more than {n} outputs. Name a folder further down.", { n: count(all.length) })}</p>`}
    ${data && html`<${Grid} label=${t("Runs")} columns=${columns(marked, mark)} total=${shown.length} version=${JSON.stringify([state, q])} inMemory=${shown} selected=${selected} onSelect=${(index) => set({ at: index || "" })}
      onOpen=${(one) => one && go(firstPage(one))} actions=${{ x: mark, " ": mark }} onError=${() => {}} />`}
    ${run && html`<${Details} run=${run} isMarked=${marked.includes(run.id)} onMark=${() => mark(run)} />`}
  </section>`;
}

/** A run opens with its live page, other files with their rows. */
const firstPage = (run) => ({ page: run.kind === "run" ? "live" : "rows", run: run.id });

function Details({ run, isMarked, onMark }) {
  return html`<aside class="details" aria-label=${t("Selected run")}>
    <h2>${line(run.name)}</h2>
    <p><${State} state=${run.state} /> ${line(say(run.state_text) || stateWord(run.state))}
      ${run.updated_at && run.state !== "running" && html` <span class="muted">${t("Last update {ago} ago.", { ago: ago(run.updated_at) })}</span>`}</p>
    ${run.remedy && html`<${Remedy} text=${run.remedy} />`}
    <p class="actions"><${Link} to=${firstPage(run)} class="button">${t("Open")}<//>
      <${Link} to=${{ page: "rows", run: run.id }} class="button">${t("Rows")}<//>
      ${run.kind !== "file" && html`<button onClick=${onMark} aria-pressed=${isMarked ? "true" : "false"}>${t("Mark for a comparison")}</button>`}
      <span class="muted">${bytes(run.bytes)}</span></p>
  </aside>`;
}
