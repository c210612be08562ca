// The words of the page. English texts are in the components, as arguments of t(); other languages are tables.
import { CHINESE } from "./words_zh.js";

const STORED_LANGUAGE = "manycall.language";
const TABLES = { en: {}, zh: CHINESE };
let current = localStorage.getItem(STORED_LANGUAGE) || (/^zh\b/i.test(navigator.language) ? "zh" : "en");
document.documentElement.lang = current;

/** Return the language of the page: "en" or "zh". */
export const language = () => current;

/** Set the language of the page and remember it. */
export function setLanguage(name) {
  current = name in TABLES ? name : "en";
  localStorage.setItem(STORED_LANGUAGE, current);
  document.documentElement.lang = current;
}

/** Return the text in the language of the page, with {name} replaced by the value of that name. */
export function t(text, values = {}) {
  const translated = TABLES[current][text] ?? text;
  return translated.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}
