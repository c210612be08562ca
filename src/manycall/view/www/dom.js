// The view library in one place: everything else imports components and hooks from here.
// `html` builds elements from a template literal. Values become text nodes and properties, never markup.
import { h, render, Component } from "./vendor/preact.js";
import htm from "./vendor/htm.js";
import { useState, useEffect, useLayoutEffect, useMemo, useRef } from "./vendor/hooks.js";

export { render, Component, useState, useEffect, useLayoutEffect, useMemo, useRef };

export const html = htm.bind(h);

/** Join the class names that are not empty. */
export const classes = (...names) => names.filter(Boolean).join(" ");
