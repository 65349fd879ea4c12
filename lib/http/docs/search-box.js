// The search of the manual: all sections come as one JSON file, and are searched in the browser.
"use strict";

const MOST_RESULTS = 12;
const input = document.getElementById("search");
const list = document.getElementById("results");
const menu = document.getElementById("menu");

let sections;
let chosen = -1;

async function loadSections() {
  sections ??= fetch("/docs/search.json").then((answer) => answer.json());
  return sections;
}

/** Every word must occur; a word in a heading counts more than one in the text. */
function score(section, words) {
  const title = section.title.toLowerCase();
  const heading = section.heading.toLowerCase();
  const text = section.text.toLowerCase();
  let total = 0;
  for (const word of words) {
    const found =
      (heading.includes(word) ? 20 : 0) + (title.includes(word) ? 5 : 0) + Math.min(text.split(word).length - 1, 5);
    if (found === 0) return 0;
    total += found;
  }
  return total;
}

async function search() {
  const query = input.value;
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return show([], words);
  const found = (await loadSections())
    .map((section) => ({ section, score: score(section, words) }))
    .filter((one) => one.score > 0)
    .toSorted((a, b) => b.score - a.score);
  // Somebody may have typed on while the sections were loaded.
  if (input.value === query)
    show(
      found.slice(0, MOST_RESULTS).map((one) => one.section),
      words,
    );
}

function show(found, words) {
  chosen = -1;
  list.replaceChildren(...found.map((section, index) => item(section, index, words)));
  if (words.length > 0 && found.length === 0) {
    const none = document.createElement("li");
    none.className = "none";
    none.textContent = "Nothing found";
    list.append(none);
  }
  open(words.length > 0);
}

function item(section, index, words) {
  const link = document.createElement("a");
  link.href = `/docs/${section.page}${section.anchor === "" ? "" : `#${section.anchor}`}`;
  link.tabIndex = -1;
  const where = document.createElement("strong");
  where.textContent = section.anchor === "" ? section.title : `${section.title}: ${section.heading}`;
  const excerpt = document.createElement("span");
  excerpt.append(...marked(excerptOf(section.text, words), words));
  link.append(where, excerpt);
  const entry = document.createElement("li");
  entry.id = `result-${index}`;
  entry.setAttribute("role", "option");
  entry.setAttribute("aria-selected", "false");
  entry.append(link);
  return entry;
}

function excerptOf(text, words) {
  const places = words.map((word) => text.toLowerCase().indexOf(word)).filter((place) => place >= 0);
  const near = places.length === 0 ? 0 : Math.min(...places) - 40;
  const start = near <= 0 ? 0 : text.indexOf(" ", near) + 1;
  return (start > 0 ? "…" : "") + text.slice(start, start + 140) + (text.length > start + 140 ? "…" : "");
}

function marked(text, words) {
  const pattern = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|");
  return text.split(new RegExp(`(${pattern})`, "i")).map((part, index) => {
    if (index % 2 === 0) return part;
    const mark = document.createElement("mark");
    mark.textContent = part;
    return mark;
  });
}

function open(shown) {
  list.hidden = !shown;
  input.setAttribute("aria-expanded", String(shown));
  if (!shown) input.removeAttribute("aria-activedescendant");
}

function choose(step) {
  const options = [...list.querySelectorAll("[role=option]")];
  if (options.length === 0) return;
  chosen = (chosen + step + options.length) % options.length;
  options.forEach((option, index) => option.setAttribute("aria-selected", String(index === chosen)));
  options[chosen].scrollIntoView({ block: "nearest" });
  input.setAttribute("aria-activedescendant", options[chosen].id);
}

input.disabled = false;
input.addEventListener("input", () => void search());
input.addEventListener("focus", () => void loadSections());
input.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown") choose(1);
  else if (event.key === "ArrowUp") choose(chosen === -1 ? 0 : -1);
  else if (event.key === "Enter") list.querySelectorAll("a")[Math.max(chosen, 0)]?.click();
  else if (event.key === "Escape") open(false);
  else return;
  event.preventDefault();
});
document.addEventListener("click", (event) => {
  if (!event.target.closest(".search") || event.target.closest("#results a")) open(false);
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest("input, textarea")) return;
  event.preventDefault();
  input.focus();
  input.select();
});

function openMenu(shown) {
  document.body.classList.toggle("menu", shown);
  menu.setAttribute("aria-expanded", String(shown));
}

document.documentElement.classList.add("scripted");
menu.addEventListener("click", () => openMenu(!document.body.classList.contains("menu")));
document.querySelector(".contents")?.addEventListener("click", () => openMenu(false));
