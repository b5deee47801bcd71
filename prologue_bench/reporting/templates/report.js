// Tables sort by a click on a header, a field filters the variants, a link to a variant opens its settings, plots are
// drawn from top to bottom, those in closed details once they open, and one reconstruction wipes over another.
document.addEventListener("DOMContentLoaded", () => {
  const value = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.value === undefined) return cell.textContent.trim();
    return cell.dataset.value === "" ? NaN : Number(cell.dataset.value);
  };
  const compare = (a, b) => {
    if (typeof a === "string") return a.localeCompare(b, undefined, { numeric: true });
    return Number.isNaN(a) ? 1 : Number.isNaN(b) ? -1 : a - b;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows].sort((a, b) => compare(value(a, column), value(b, column)));
        table.tBodies[0].append(...(down ? rows.reverse() : rows));
      });
    });
  }
  const filter = document.getElementById("filter");
  filter?.addEventListener("input", () => {
    const wanted = filter.value.toLowerCase();
    for (const row of document.querySelectorAll("table.sortable tbody tr"))
      row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
  });
  const open = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target instanceof HTMLDetailsElement) target.open = true;
  };
  addEventListener("hashchange", open);
  open();

  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const options = { renderer: "svg", tooltip: { theme: dark ? "dark" : "light" }, actions: { export: true, source: false, compiled: false, editor: false } };
  const draw = async (within) => {
    for (const place of within.querySelectorAll(".plot:not(.drawn)")) {
      if (place.closest("details:not([open])")) continue;
      place.classList.add("drawn");
      await vegaEmbed(place, JSON.parse(place.nextElementSibling.textContent), options);
      place.querySelector("summary")?.setAttribute("aria-label", "Save this plot");
    }
  };
  for (const details of document.querySelectorAll("details"))
    details.addEventListener("toggle", () => draw(details));
  draw(document).then(() => document.documentElement.classList.add("drawn"));

  for (const box of document.querySelectorAll(".compare")) {
    const pictures = new Map(JSON.parse(box.dataset.pictures));
    const [left, right] = box.querySelectorAll("select");
    const [below, above] = box.querySelectorAll("img");
    const wipe = box.querySelector("input");
    const titles = [...pictures.keys()];
    for (const select of [left, right]) for (const title of titles) select.add(new Option(title));
    right.selectedIndex = titles.length - 1;
    const update = () => {
      above.src = document.getElementById(pictures.get(left.value)).src;
      below.src = document.getElementById(pictures.get(right.value)).src;
      above.style.clipPath = `inset(0 ${100 - wipe.value}% 0 0)`;
      box.style.setProperty("--wipe", `${wipe.value}%`);
      above.alt = `${left.value}, up to ${wipe.value}% of the width`;
      below.alt = `${right.value}, the rest`;
    };
    for (const control of [left, right, wipe]) control.addEventListener("input", update);
    update();
  }
});
