// The calls of a row and the prompt that they sent.
import { html } from "./dom.js";
import { say, t } from "./words.js";
import { clockTime, count, duration } from "./format.js";
import { useData } from "./load.js";
import { asText, line, Text } from "./text.js";
import { ErrorBox, Link, Table } from "./parts.js";

const AGAIN_MS = 1000;

/** What was asked: the messages as they were sent, or why they cannot be shown. */
export function Prompt({ run, n, file, question }) {
  const { data, error } = useData(`runs/${run}/rows/${n}/prompt`, { file: file === "out" ? "" : file });
  if (error && question === undefined) return null;
  return html`<section class="panel"><h2>${t("Asked")}</h2>
    ${data?.messages
      ? data.messages.map((message) => html`<div class="message"><h3>${line(message.role)}</h3><${Text} value=${messageText(message.content)} /></div>`)
      : question !== undefined && html`<${Text} value=${asText(question)} label=${t("Question")} />`}
    ${data?.note && html`<p class="muted">${data.known ? "✓ " : ""}${line(say(data.note))}</p>`}</section>`;
}

/** The text of a message; parts that are no text as JSON. Images are never loaded. */
const messageText = (content) =>
  Array.isArray(content) ? content.map((part) => (part?.type === "text" ? part.text : asText(part))).join("\n") : asText(content);

/** The calls of a row, from the journal. */
export function Calls({ run, n }) {
  const { data, error } = useData(`runs/${run}/rows/${n}/calls`, {}, (reply) => (reply.complete ? 0 : AGAIN_MS));
  if (error) return html`<${ErrorBox} error=${error} />`;
  if (!data) return null;
  const columns = [
    { label: t("At"), cell: (call) => clockTime(call.at, true) },
    { label: t("Took"), number: true, cell: (call) => duration(call.seconds) },
    { label: t("First token"), number: true, cell: (call) => (call.ttft == null ? "–" : duration(call.ttft)) },
    { label: t("Tokens in + out"), number: true, cell: (call) => `${count(call.prompt_tokens)} + ${count(call.completion_tokens)}` },
    { label: t("Ending"), cell: (call) => line(call.finish_reason || "") },
    { label: t("Attempts"), cell: (call) => attempts(call) },
    { label: t("Endpoint"), cell: (call) => line([call.endpoint, call.model].filter(Boolean).join(" · ")) },
    { label: t("Response"), cell: (call) => call.n !== null && html`<${Link} to=${{ page: "row", run, row: call.n, params: { file: "calls" } }}>${t("show")}<//>` },
  ];
  return html`<section class="panel"><h2>${t("Calls")}</h2>
    <${Table} label=${t("Calls")} columns=${columns} rows=${data.calls} empty=${data.complete ? t("The journal has no call of this row.") : t("Reading the journal …")} /></section>`;
}

function attempts(call) {
  if (!call.attempts || call.attempts === 1) return "1";
  const statuses = call.statuses?.length ? ` (${call.statuses.join(", ")})` : "";
  return `${count(call.attempts)}${statuses}${call.waited ? ` · ${t("waited {duration}", { duration: duration(call.waited) })}` : ""}`;
}
