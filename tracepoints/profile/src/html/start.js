// Runs when all parts are loaded: fills the header, listens to keys, draws the first view.
head();
for (const b of document.querySelectorAll("[data-tab]")) b.addEventListener("click", () => show(b.dataset.tab));
$("search").addEventListener("input", () => setSearch($("search").value));
$("theme").addEventListener("click", () => setTheme((chosen = document.documentElement.dataset.theme === "dark" ? "light" : "dark")));
$("help").addEventListener("click", () => $("keys").showModal());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(chosen));
addEventListener("keydown", keydown);
addEventListener("resize", redraw);
const wanted = location.hash.slice(1).split(",");
if (wanted.includes("dark") || wanted.includes("light")) chosen = wanted.includes("dark") ? "dark" : "light";
setTheme(chosen);
show(wanted.find((w) => views[w]) || (data.kind === "trace" && views.timeline && data.flame.parent.length < 2 ? "timeline" : "flame"));
