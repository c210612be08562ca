// The frame of all pages: header, navigation, language, theme, keys.
import { html, render, useEffect, useLayoutEffect, useRef, useState } from "./dom.js";
import { takeToken } from "./api.js";
import { ApiError } from "./shared.js";
import { go, useRoute } from "./route.js";
import { addWords, language, setLanguage, t } from "./words.js";
import { useData } from "./load.js";
import { KeyHelp, useKeys } from "./keys.js";
import { Line } from "./text.js";
import { Boundary, ErrorBox, Link } from "./parts.js";
import { loadChinese, loadPage } from "./pages.js";

const STORED_THEME = "manycall.theme";
const RUN_PAGES = ["live", "rows", "judge", "data"];

const pageWord = (page) => ({ runs: t("Runs"), live: t("Live"), rows: t("Rows"), row: t("Row"), compare: t("Compare"), judge: t("Judge"), data: t("Data") })[page] || page;

/** The theme: "" follows the system. */
function useTheme() {
  const [theme, setTheme] = useState(localStorage.getItem(STORED_THEME) || "");
  document.documentElement.dataset.theme = theme; // While drawing: a chart reads its colors before effects of the frame run.
  useEffect(() => localStorage.setItem(STORED_THEME, theme), [theme]);
  const isDark = theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  return [isDark ? "dark" : "light", () => setTheme(isDark ? "light" : "dark")];
}

function App() {
  const route = useRoute();
  const [theme, toggleTheme] = useTheme();
  const [lang, setLang] = useState(language());
  const [help, setHelp] = useState(false);
  const detail = useData(route.run ? `runs/${route.run}` : null, {}, 10_000);
  const { Page, error } = usePage(route.page);
  const run = route.run && detail.data;
  useSession(route.run, run?.started_at);
  const pages = run?.pages || RUN_PAGES.filter((page) => page === route.page);
  const open = (page) => route.run && go({ page, run: route.run });
  const toggleLanguage = async () => {
    setLanguage(lang === "zh" ? "en" : "zh");
    await prepareWords();
    setLang(language());
  };
  useKeys([
    ["?", () => setHelp(true), t("all keys")],
    ["g r", () => go({ page: "runs" }), t("go to the runs")],
    ["g l", () => open("live"), t("go to the live page of this run")],
    ["g t", () => open("rows"), t("go to the rows of this run")],
    ["g j", () => open("judge"), t("go to the verdicts of this run")],
    ["g d", () => open("data"), t("go to the data page of this run")],
    ["j , k , ArrowDown , ArrowUp , PageDown , PageUp , Home , End", focusGrid, t("move in the table")],
    ["Enter", focusGrid, t("open the selected row")],
    ["Escape", () => document.activeElement?.blur(), t("leave a field, close")],
  ]);
  useFocusOnPage(route, run?.name, lang, Page);
  return html`<a class="skip" href="#title" onClick=${(event) => (event.preventDefault(), document.querySelector("#title")?.focus())}>${t("Skip to the content")}</a>
    <header class="top">
      <${Link} to=${{ page: "runs" }} class="brand" current=${route.page === "runs"}>manycall view<//>
      <nav aria-label=${t("Pages of this run")}>${run && html`<span class="crumb" title=${run.path}><${Line} value=${run.name} /></span>`}
        ${pages.map((page) => html`<${Link} to=${{ page, run: route.run }} current=${page === route.page || (page === "rows" && route.page === "row")}>${pageWord(page)}<//>`)}</nav>
      <div class="tools">
        <button onClick=${toggleLanguage} lang=${lang === "zh" ? "en" : "zh"} aria-label=${lang === "zh" ? "English" : "中文"}>${lang === "zh" ? "EN" : "中文"}</button>
        <button onClick=${toggleTheme}>${theme === "dark" ? t("Light") : t("Dark")}</button>
        <button onClick=${() => setHelp(true)} aria-label=${t("Keyboard")}>?</button>
      </div>
    </header>
    <main key=${lang}><${ErrorBox} error=${error} />
      ${Page && html`<${Boundary} key=${`${route.page} ${route.run}`}><${Page} route=${route} theme=${theme} runState=${run?.state} /><//>`}</main>
    ${help && html`<${KeyHelp} onClose=${() => setHelp(false)} />`}`;
}

/** Tell the page to load its data again when the run that it shows was resumed or started over. */
function useSession(run, startedAt) {
  const seen = useRef([]);
  useEffect(() => {
    if (!startedAt) return;
    const [other, earlier] = seen.current;
    seen.current = [run, startedAt];
    if (other === run && earlier !== startedAt) dispatchEvent(new Event("session"));
  }, [run, startedAt]);
}

/** The component of a page, once its module is there. */
function usePage(name) {
  const [loaded, setLoaded] = useState({});
  useLayoutEffect(() => {
    let isShown = true; // A late module must not replace a later page.
    const show = (state) => isShown && setLoaded(state);
    loadPage(name).then((Page) => show({ name, Page }), () => show({ error: new ApiError(0, "offline") }));
    return () => (isShown = false);
  }, [name]);
  return loaded.name === name ? loaded : { error: loaded.error };
}

/** Keys of the table work without a click into it first: the first one moves the focus there and is then repeated. */
function focusGrid(event) {
  const grid = document.querySelector(".grid");
  if (!grid || grid.contains(event.target) || /^(A|BUTTON|SUMMARY)$/.test(event.target.tagName) && event.key === "Enter") return;
  grid.focus();
  grid.dispatchEvent(new KeyboardEvent("keydown", { key: event.key, bubbles: true, cancelable: true }));
}

/** Name the document, and move the focus to the title of a page that has been opened. */
function useFocusOnPage(route, name, lang, Page) {
  const shown = useRef(null);
  useEffect(() => {
    document.title = [pageWord(route.page), name, "manycall view"].filter(Boolean).join(" · ");
  }, [route.page, name, lang]);
  useEffect(() => {
    if (!Page) return;
    if (shown.current !== null && shown.current !== route.page) document.querySelector("#title")?.focus({ preventScroll: true });
    shown.current = route.page;
  }, [Page, route.run]);
}

/** Load the texts of the language of the page. */
async function prepareWords() {
  if (language() === "zh") addWords("zh", ...(await loadChinese()));
}

takeToken();
addEventListener("hashchange", () => takeToken()); // Registered before the pages listen: they see the address without the token.
const start = () => render(html`<${App} />`, document.getElementById("app"));
prepareWords().then(start, start);
