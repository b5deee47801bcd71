// Sections become tabs, tables sort and show further columns, plots are drawn as they come into view and then in the
// background, so that print has all of them, and pictures are enlarged. Without this script the page shows everything at once.
document.addEventListener("DOMContentLoaded", () => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const make = (name, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };

  // Tables
  const value = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.value === undefined) return cell.textContent.trim();
    return cell.dataset.value === "" ? NaN : Number(cell.dataset.value);
  };
  const compare = (a, b) => {
    if (typeof a === "string") return a.localeCompare(b, undefined, { numeric: true });
    return Number.isNaN(a) ? 1 : Number.isNaN(b) ? -1 : a - b;
  };
  for (const table of all("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const higherFirst = head.textContent.includes("↑");
      const button = make("button", { type: "button" });
      button.setAttribute("aria-label", `Sort by ${head.textContent.trim()}`);
      head.insertBefore(button, head.querySelector("small"));
      button.addEventListener("click", () => {
        const before = head.getAttribute("aria-sort");
        const down = before ? before === "ascending" : higherFirst;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows].sort((a, b) => {
          const [x, y] = [value(a, column), value(b, column)];
          return (down && !Number.isNaN(x) && !Number.isNaN(y) ? -1 : 1) * compare(x, y);
        });
        table.tBodies[0].append(...rows);
      });
    });
  }
  const filter = document.getElementById("filter");
  filter?.addEventListener("input", () => {
    const wanted = filter.value.toLowerCase();
    for (const row of all("table.board tbody tr"))
      row.hidden = !row.querySelector("th").textContent.toLowerCase().includes(wanted);
  });
  for (const box of all(".chooser input"))
    box.addEventListener("change", () => {
      const table = document.querySelector("table.board");
      const column = [...table.tHead.rows[0].cells].findIndex((head) => head.dataset.metric === box.value);
      for (const row of table.rows) row.cells[column].hidden = !box.checked;
    });

  // A table that goes on to the right or below says so, as large as it is now
  const hint = (scroll) => {
    const { classList } = scroll.parentNode;
    classList.toggle("more", scroll.scrollWidth - scroll.clientWidth - scroll.scrollLeft > 1);
    classList.toggle("below", scroll.scrollHeight - scroll.clientHeight - scroll.scrollTop > 1);
  };
  const widths = new ResizeObserver((entries) => {
    for (const { target } of entries) hint(target.closest(".scroll"));
  });
  for (const scroll of all(".scroll")) {
    scroll.addEventListener("scroll", () => hint(scroll));
    for (const each of [scroll, ...scroll.children]) widths.observe(each);
  }

  // Plots
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const options = { renderer: "svg", tooltip: { theme: dark ? "dark" : "light" }, actions: false };
  const spec = (place) => JSON.parse(place.nextElementSibling.textContent);
  const workshop = make("div", { className: "workshop", ariaHidden: "true" });
  document.body.append(workshop);
  const draw = async (place) => {
    if (place.classList.contains("drawn")) return; // by another call, since this one began
    place.classList.add("drawn");
    const [shown, parent, next] = [spec(place), place.parentNode, place.nextSibling];
    const away = !place.clientWidth; // what is not shown has no width
    if (away) workshop.append(place);
    await vegaEmbed(place, shown, options);
    if (away) parent.insertBefore(place, next);
  };
  const drawAll = async (hidden) => {
    for (const place of all(".plot:not(.drawn)")) if (hidden || place.clientWidth) await draw(place);
  };
  let fitting; // one for all folds that open at once, as for print: each resizes every plot
  const fit = () => {
    fitting ??= new Promise((done) => setTimeout(done)).then(async () => {
      fitting = undefined;
      await drawAll(false);
      dispatchEvent(new Event("resize")); // plots that were drawn elsewhere take the width that they have now
    });
    return fitting;
  };
  const file = (title) =>
    `${document.body.dataset.name}-${title}`.toLowerCase().replace(/[^a-z0-9.]+/g, "-").replace(/^-|-$/g, "");
  const save = async (place, kind) => {
    const { title, note } = place.dataset;
    const named = { text: title, subtitle: note || undefined, anchor: "start", subtitleColor: "#444" };
    const shown = JSON.parse(JSON.stringify(spec(place)).replaceAll('"currentColor"', '"#000"'));
    const bench = make("div");
    const config = { ...shown.config, background: "#fff" };
    const made = await vegaEmbed(bench, { ...shown, title: named, width: 520, autosize: { type: "pad" }, config }, options);
    const href = await made.view.toImageURL(kind, 2);
    make("a", { href, download: `${file(title)}.${kind}` }).click();
    made.finalize();
  };
  for (const place of all(".plot")) {
    const buttons = ["svg", "png"].map((kind) => {
      const button = make("button", { type: "button", title: `Save as ${kind.toUpperCase()}` }, kind.toUpperCase());
      button.setAttribute("aria-label", `Save ${place.dataset.title} as ${kind.toUpperCase()}`);
      button.addEventListener("click", () => save(place, kind));
      return button;
    });
    place.parentNode.append(make("div", { className: "save" }, ...buttons));
  }
  for (const details of all("details")) details.addEventListener("toggle", fit);

  // Tabs
  const bar = document.querySelector("nav.tabs");
  const tabs = all("a", bar);
  const panels = tabs.map((tab) => document.querySelector(tab.getAttribute("href")));
  const show = (index) => {
    tabs.forEach((tab, other) => {
      tab.setAttribute("aria-selected", String(other === index));
      tab.tabIndex = other === index ? 0 : -1;
      panels[other].hidden = other !== index;
    });
    fit();
  };
  bar.setAttribute("role", "tablist");
  tabs.forEach((tab, index) => {
    tab.setAttribute("role", "tab");
    tab.id = `tab-${panels[index].id}`;
    tab.setAttribute("aria-controls", panels[index].id);
    panels[index].setAttribute("role", "tabpanel");
    panels[index].setAttribute("aria-labelledby", tab.id);
    tab.addEventListener("click", (event) => {
      event.preventDefault();
      history.replaceState(null, "", tab.getAttribute("href"));
      show(index);
    });
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = (index + step + tabs.length) % tabs.length;
      show(next);
      tabs[next].focus();
    });
  });
  const open = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    const index = panels.findIndex((panel) => panel.contains(target));
    if (index >= 0) show(index);
    for (let each = target; each; each = each.parentElement?.closest("details"))
      if (each instanceof HTMLDetailsElement) each.open = true;
    target.scrollIntoView();
  };
  show(0);
  addEventListener("hashchange", open);
  open();
  let closed = [];
  const commands = document.querySelector(".commands");
  addEventListener("beforeprint", () => {
    document.querySelector("main").append(commands); // the first page is for the answer
    closed = all("details:not([open])");
    for (const details of closed) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of closed) details.open = false;
    document.querySelector("header").append(commands);
  });

  // Pictures
  const dialog = document.querySelector("dialog");
  const enlarge = (...shown) => {
    dialog.lastElementChild.replaceChildren(...shown);
    dialog.showModal();
  };
  const titled = (picture, text) => make("span", {}, picture.cloneNode(true), text);
  for (const row of all(".strip button.row")) {
    const pictures = [];
    for (let each = row.nextElementSibling; each && each.tagName !== "BUTTON"; each = each.nextElementSibling) pictures.push(each);
    const names = all(".column", row.parentNode).map((each) => each.title);
    const title = row.closest("figure").querySelector("figcaption").textContent.trim();
    const larger = () =>
      enlarge(
        make("h2", {}, `${title}: ${row.textContent}`),
        make("div", { className: "tiles" }, ...pictures.map((each, index) => titled(each, names[index]))),
      );
    for (const each of [row, ...pictures]) each.addEventListener("click", larger);
  }
  for (const picture of all("#images figure .sheet")) {
    const title = picture.getAttribute("aria-label");
    picture.addEventListener("click", () => enlarge(make("h2", {}, title), picture.cloneNode(true)));
  }
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  for (const box of all(".compare")) {
    const pictures = new Map(JSON.parse(box.dataset.pictures));
    const [left, right] = all("select", box);
    const [below, above] = all("svg", box);
    const wipe = box.querySelector("input");
    const titles = [...pictures.keys()];
    for (const select of [left, right]) for (const title of titles) select.add(new Option(title));
    right.selectedIndex = titles.length - 1;
    const update = () => {
      above.firstElementChild.setAttribute("href", `#picture-${pictures.get(left.value)}`);
      below.firstElementChild.setAttribute("href", `#picture-${pictures.get(right.value)}`);
      above.style.clipPath = `inset(0 ${100 - wipe.value}% 0 0)`;
      box.style.setProperty("--wipe", `${wipe.value}%`);
      above.setAttribute("aria-label", `${left.value}, up to ${wipe.value}% of the width`);
      below.setAttribute("aria-label", `${right.value}, the rest`);
    };
    for (const control of [left, right, wipe]) control.addEventListener("input", update);
    update();
  }

  // Commands
  for (const block of all(".commands pre")) {
    const text = block.textContent;
    const button = make("button", { type: "button" }, "Copy");
    button.addEventListener("click", async () => {
      await navigator.clipboard?.writeText(text);
      button.textContent = "Copied";
    });
    block.append(button);
  }

  drawAll(false).then(async () => {
    document.documentElement.classList.add("drawn");
    await drawAll(true);
    document.documentElement.classList.add("ready");
  });
});
