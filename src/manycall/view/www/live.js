// A run: is it well, when is it done, what limits it, what does it cost?
import { html, useEffect, useMemo, useState } from "./dom.js";
import { say, t } from "./words.js";
import { ago, bytes, clockTime, compact, count, duration, measure, money, percent } from "./format.js";
import { Chart, Ribbon } from "./chart.js";
import { useData } from "./load.js";
import { follow } from "./stream.js";
import { line } from "./text.js";
import { quoteName, quoteValue } from "./bars.js";
import { go } from "./route.js";
import { ErrorBox, Figure, Link, Remedy, State, Table } from "./parts.js";
import { addLines, emptyTimeline, reasonOf } from "./timeline.js";

const DETAIL_MS = 10_000;
const ENDED_MS = 2000;
const ACTIVE = ["running", "silent"];
const isActive = (run) => ACTIVE.includes(run?.state);

export function LivePage({ route, theme }) {
  const detail = useData(`runs/${route.run}`, {}, (data) => (isActive(data) ? DETAIL_MS : ENDED_MS));
  const live = useTimeline(route, detail.data);
  useEffect(() => {
    if (live.state) detail.reload();
  }, [live.state?.state, live.sessions]);
  const run = detail.data;
  if (!run) return html`<section class="page"><h1 id="title" tabindex="-1">${t("Live")}</h1><${ErrorBox} error=${detail.error} /></section>`;
  const now = { ...run, ...live.state, figures: live.figures || run.figures || {}, endpoints: live.endpoints || run.endpoints, oldest: live.oldest || run.oldest };
  return html`<section class="page scroll" aria-labelledby="title">
    <h1 id="title" tabindex="-1">${line(run.name)} <${State} state=${now.state} /></h1>
    <${ErrorBox} error=${detail.error || live.error} />
    <${Summary} run=${now} link=${live.link} />
    ${run.damage.map((each) => html`<${ErrorBox} error=${{ status: -1, message: `${each.file}: ${say(each.error)}`, hint: each.hint }} />`)}
    <${Charts} route=${route} timeline=${live.timeline} theme=${theme} isLive=${now.state === "running"} />
    <div class="columns-2">
      <${Endpoints} run=${now} />
      <${Oldest} run=${now} />
      <${Failures} run=${now} />
      <${Events} events=${live.timeline.events.length ? live.timeline.events : run.events} />
    </div>
    <${About} run=${now} />
  </section>`;
}

/** The timeline of a run: loaded once, and followed while the run is active. Other runs need no stream: `detail` says when one goes on. */
function useTimeline(route, detail) {
  const { from = "", to = "" } = route.params;
  const [round, setRound] = useState(0);
  const { data, error } = useData(`runs/${route.run}/timeline`, { from, to, points: 600, round: round || "" });
  const [live, setLive] = useState({});
  const isFollowed = isActive(live.state || detail);
  useEffect(() => {
    if (data) setLive({ timeline: data });
  }, [data]);
  useEffect(() => {
    // What the stream said of a run that has ended is older than what has just been loaded.
    setLive((old) => (old.state && !isActive(old.state) ? { timeline: old.timeline } : old));
  }, [detail]);
  useEffect(() => {
    if (!data || !isFollowed) return undefined;
    const stream = follow(route.run, data.cursor, {
      onLines: (lines) => setLive((old) => addLines(old, lines, { from, to })),
      onState: ({ sessions, ...state }) => setLive((old) => ({ ...old, sessions, state })),
      onReset: () => (stream.stop(), setLive({}), setRound((n) => n + 1)),
      onLink: (link) => setLive((old) => ({ ...old, link })),
    });
    return () => stream.stop();
  }, [data, isFollowed]);
  return { ...live, timeline: live.timeline || data || emptyTimeline(), error };
}

function Summary({ run, link }) {
  const figures = run.figures;
  const total = run.total;
  const ended = figures.total_ended ?? run.ended ?? 0;
  const failed = figures.failed ?? run.failed;
  const truncated = figures.total_truncated ?? run.truncated;
  const share = total ? ended / total : 0;
  const left = total ? Math.max(0, total - ended) : null;
  const cost = figures.total_cost ?? run.cost;
  const budgets = (figures.budget_usage || run.figures.budget_usage || []).map(asBudget).filter(Boolean);
  return html`<div class="summary">
    <p class="lead" aria-live="polite">${line(say(run.state_text))}
      ${run.state === "running" && run.eta && html` <strong>${eta(run.eta)}</strong>`}
      ${linkWord(link, run.state) && html` <small class="muted">${linkWord(link, run.state)}</small>`}</p>
    ${run.remedy && html`<${Remedy} text=${run.remedy} />`}
    ${total && html`<div class="progress" role="progressbar" aria-label=${t("Rows that have ended")} aria-valuemin="0" aria-valuemax=${total} aria-valuenow=${ended}>
      <span class="ok" style=${{ width: `${share * 100}%` }}></span></div>`}
    <dl class="figures">
      <${Figure} label=${t("rows")} note=${left ? t("{n} left", { n: count(left) }) : ""}>${count(ended)}${total ? ` / ${count(total)}` : ""}<//>
      <${Figure} label=${t("failed")} bad=${failed > 0}>${failed > 0 ? html`<${Link} to=${{ page: "rows", run: run.id, params: { file: "failures" } }}>${count(failed)}<//>` : count(failed)}<//>
      <${Figure} label=${t("truncated")} bad=${truncated > 0}>${truncated > 0 ? html`<${Link} to=${{ page: "rows", run: run.id, params: { where: "ending = length" } }}>${count(truncated)}<//>` : count(truncated)}<//>
      ${run.state === "running" && html`<${Figure} label=${t("calls/s")} note=${`${compact(figures.tokens_per_s)} tok/s`}>${measure(figures.calls_per_s)}<//>
      <${Figure} label=${t("in flight")}>${count(figures.in_flight)}${figures.window ? ` / ${count(figures.window)}` : ""}<//>`}
      <${Figure} label=${run.state === "running" ? t("limited by") : t("was limited by")} note=${figures.limited_by && run.state === "running" ? reasonNote(reasonOf(figures.limited_by)) : ""}>${figures.limited_by ? line(say(figures.limited_by)) : t("nothing known")}<//>
      <${Figure} label=${t("cost")} note=${budgets.join(", ")}>${cost == null ? t("no price known") : money(cost, run.currency || figures.currency)}<//>
      ${(figures.note || run.note) && html`<${Figure} label=${run.state === "running" ? t("result so far") : t("result")}>${line(figures.note || run.note)}<//>`}
    </dl>
  </div>`;
}

/** What a limit means for the reader. */
function reasonNote(reason) {
  const notes = {
    window: t("The window still opens: more calls at once may follow."),
    server: t("The server: more calls at once bring no more answers."),
    quota: t("The provider: its rate limit is used up."),
    concurrency: t("An option or the provider limits the number of calls at once."),
    machine: t("This machine: its processor or its open files are used up."),
    budget: t("The budget is nearly spent."),
  };
  return notes[reason] || "";
}

/** A budget as text; the file has a sentence or an object. */
const asBudget = (budget) => (typeof budget === "string" ? budget : budget?.text || "");

function eta({ seconds, low, high }) {
  const now = Date.now() / 1000;
  const range = low && high ? ` (${clockTime(now + low)}–${clockTime(now + high)})` : "";
  return t("Done about {time}{range}, in {duration}.", { time: clockTime(now + seconds), range, duration: duration(seconds) });
}

function linkWord(link, state) {
  if (state !== "running" && link !== "waiting") return "";
  return { live: t("· updated live"), polling: t("· updated every second"), waiting: t("· no connection, trying again"), hidden: "" }[link] || "";
}

function Charts({ route, timeline, theme, isLive }) {
  const { series, time, bucket } = timeline;
  const set = (from, to) => go({ ...route, params: { ...route.params, from, to } });
  const zoom = (from, to) => set(from.toFixed(1), to.toFixed(1));
  const end = time.at(-1) ?? timeline.to ?? 0;
  const span = [Number(route.params.from) || time[0] || 0, Number(route.params.to) || end];
  const values = (name) => series[name]?.mean || [];
  const has = (name) => values(name).some((value) => value > 0);
  const charts = useMemo(() => [
    [t("Rate"), [[t("calls/s"), "calls_per_s"]], measure],
    [t("Calls in flight"), [[t("in flight"), "in_flight"], [t("window"), "window"]], count],
    [t("Latency"), [[t("median"), "latency_p50"], [t("95 %"), "latency_p95"]], duration],
    [t("Refusals and retries"), [[t("429/s"), "http_429_per_s"], [t("retries/s"), "retries_per_s"]], measure],
    [t("Failed rows"), [[t("failed/s"), "failed_per_s"]], measure],
    [t("Tokens"), [[t("tokens/s"), "tokens_per_s"]], compact],
  ].filter(([, lines], index) => index < 2 || lines.some(([, name]) => has(name))), [timeline]);
  if (!time.length) return html`<p class="muted">${t("There is no timeline yet.")}</p>`;
  if (time.length < 2) return html`<p class="muted">${t("The timeline has one line: too few for charts.")}</p>`;
  return html`<section aria-labelledby="time-title">
    <div class="toolbar"><h2 id="time-title">${t("Over time")}</h2>
      <button class="small" onClick=${() => set("", "")} aria-pressed=${route.params.from ? "false" : "true"}>${t("all")}</button>
      ${[300, 1800, 10_800].filter((seconds) => end - time[0] > seconds || route.params.from).map((seconds) => html`<button class="small"
        onClick=${() => set((end - seconds).toFixed(1), isLive ? "" : end.toFixed(1))}>${t("last {duration}", { duration: duration(seconds) })}</button>`)}
      <span class="muted">${t("Drag in a chart to zoom.")}</span>
      ${route.params.from && html`<${Link} to=${{ page: "rows", run: route.run, params: { file: "calls", where: spanFilter(span) } }}>${t("the calls of this span →")}<//>`}</div>
    <${Ribbon} spans=${timeline.limited_by} from=${span[0]} to=${span[1]} />
    <div class="charts">${charts.map(([title, lines, format]) => html`<${Chart} key=${title} title=${title} times=${time} bucket=${bucket} span=${span} theme=${theme}
      format=${format} onZoom=${zoom} series=${lines.map(([label, name]) => ({ label, values: values(name) }))} />`)}</div>
  </section>`;
}

const spanFilter = ([from, to]) => `at >= ${from.toFixed(1)} and at <= ${to.toFixed(1)}`;

function Endpoints({ run }) {
  const columns = [
    { label: t("Endpoint"), cell: (each) => line(each.endpoint) },
    { label: t("Health"), cell: (each) => (each.is_ejected || each.ejected_for > 0 ? html`<span class="state-killed">✕ ${each.ejected_for > 0 ? t("ejected for {duration}", { duration: duration(each.ejected_for) }) : t("ejected")}</span>` : html`<span class="state-running">● ${t("in use")}</span>`) },
    { label: t("In flight"), number: true, cell: (each) => `${count(each.in_flight)} / ${count(each.window)}` },
    { label: t("Calls/s"), number: true, cell: (each) => measure(each.calls_per_s) },
    { label: t("Errors"), number: true, cell: (each) => count(each.errors) },
    { label: t("Queue"), number: true, cell: (each) => count(each.queue) },
    { label: t("Limited by"), cell: (each) => line(say(each.limited_by)) },
  ];
  return html`<section class="panel wide"><h2>${t("Endpoints")}</h2>
    <${Table} label=${t("Endpoints")} columns=${columns} rows=${run.endpoints} empty=${t("The files of this run have no state of endpoints.")} /></section>`;
}

function Oldest({ run }) {
  if (!run.oldest.length || run.state !== "running") return null;
  const columns = [
    { label: t("Row"), cell: (each) => line(each.id) },
    { label: t("Endpoint"), cell: (each) => line(each.endpoint) },
    { label: t("For"), number: true, cell: (each) => duration(each.seconds) },
  ];
  return html`<section class="panel"><h2>${t("The run waits longest for")}</h2><${Table} label=${t("Oldest calls in flight")} columns=${columns} rows=${run.oldest} empty="" /></section>`;
}

function Failures({ run }) {
  const link = (params) => ({ page: "rows", run: run.id, params: { file: "failures", ...params } });
  const columns = [
    { label: t("Row"), cell: (each) => html`<${Link} to=${link({ where: `id = ${quoteValue(String(each.id))}` })}>${line(each.id)}<//>` },
    { label: t("Kind"), cell: (each) => line(each.kind) },
    { label: t("Error"), cell: (each) => line(each.error) },
  ];
  const kinds = Object.entries(run.figures.failure_counts || {}).sort(([, a], [, b]) => b - a);
  return html`<section class="panel"><h2>${t("Failed rows, newest first")}</h2>
    ${kinds.length > 0 && html`<p class="actions">${kinds.map(([kind, number]) => html`<${Link} class="button" to=${link({ where: `${quoteName("kind")} = ${quoteValue(kind)}` })}>
      ${line(kind)} ${count(number)}<//> `)}</p>`}
    <${Table} label=${t("Failed rows")} columns=${columns} rows=${run.failures} empty=${t("No row has failed.")} />
    ${run.failures.length > 0 && html`<p><${Link} to=${link({})}>${t("all failed rows →")}<//></p>`}</section>`;
}

function Events({ events }) {
  return html`<section class="panel"><h2>${t("What changed, newest first")}</h2>
    ${events.length ? html`<ol class="events" tabindex="0" aria-label=${t("Events")}>${events.toReversed().slice(0, 100).map((each) => html`<li><time>${clockTime(each.time, true)}</time>
      ${line(each.event)} <small class="muted">${line(each.endpoint || "")}</small></li>`)}</ol>` : html`<p class="muted">${t("Nothing has changed.")}</p>`}</section>`;
}

function About({ run }) {
  const rows = run.files.filter((file) => file.exists !== false);
  const columns = [
    { label: t("File"), cell: (file) => line(file.path) },
    { label: t("Size"), number: true, cell: (file) => bytes(file.bytes) },
  ];
  const session = run.sessions.at(-1);
  return html`<section class="columns-2">
    <div class="panel"><h2>${t("Files")}</h2><${Table} label=${t("Files")} columns=${columns} rows=${rows} empty="" />
      <p class="muted">${t("Session {n} of {total}", { n: count(run.session ?? run.sessions.length), total: count(run.sessions.length) })}${session?.started_at ? `, ${t("started {time}, {ago} ago", { time: clockTime(session.started_at), ago: ago(session.started_at) })}` : ""}${run.process ? ` · ${run.process}` : ""}</p></div>
    <details class="panel"><summary>${t("Settings")}</summary><pre class="text">${line(JSON.stringify(run.settings, null, 1))}</pre></details>
  </section>`;
}
