// The words of the page. English texts are in the components, as arguments of t(); other languages are tables,
// which are loaded when they are needed.
const STORED_LANGUAGE = "manycall.language";
const TABLES = { en: {} };
const KNOWN = ["en", "zh"];
let current = localStorage.getItem(STORED_LANGUAGE) || (/^zh\b/i.test(navigator.language) ? "zh" : "en");
document.documentElement.lang = current;

/** Return the language of the page: "en" or "zh". */
export const language = () => current;

/** Add the texts of a language, by their English texts. */
export function addWords(name, table) {
  TABLES[name] = table;
}

/** Set the language of the page and remember it. */
export function setLanguage(name) {
  current = KNOWN.includes(name) ? name : "en";
  localStorage.setItem(STORED_LANGUAGE, current);
  document.documentElement.lang = current;
}

/** Return the text in the language of the page, with {name} replaced by the value of that name. */
export function t(text, values = {}) {
  const translated = TABLES[current]?.[text] ?? text;
  return translated.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}
