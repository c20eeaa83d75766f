"use strict";
const bound = Number(document.getElementById("script").dataset.bound);
const token = document.querySelector("#token input").value;
const post = path => fetch(path, { method: "POST", headers: { "X-CSRFToken": token } }).then(answer => answer.json());
const read = (path, credentials = "same-origin") => fetch(path, { credentials, cache: "no-store" }).then(answer => answer.json());
const number = value => value.toLocaleString("en", { maximumFractionDigits: 1 });
const names = { hits: "local hits", remote_hits: "remote hits", misses: "misses" };

let before = {}, rates = {}, change = null, served = {};

function cells(table, rows) {
  const body = document.querySelector(`#${table} tbody`);
  body.replaceChildren(...rows.map(([head, ...rest]) => {
    const row = document.createElement("tr");
    const first = document.createElement("th");
    first.scope = "row";
    first.textContent = head;
    row.append(first, ...rest.map(([text, old]) => {
      const cell = document.createElement("td");
      cell.className = old ? "number old" : "number";
      cell.textContent = text;
      return cell;
    }));
    return row;
  }));
}

function layout(title, extra) {
  const style = getComputedStyle(document.body), ink = style.color;
  return {
    title: { text: title, font: { size: 13 } }, font: { color: ink, family: "system-ui", size: 11 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 120, r: 16, t: 36, b: 40 },
    legend: { orientation: "h", y: -0.2 }, ...extra,
  };
}

const grid = () => getComputedStyle(document.querySelector(".chart")).borderTopColor;
const pid = worker => worker.split(":").pop(), server = worker => worker.slice(0, worker.lastIndexOf(":"));
const quiet = { displayModeBar: false, responsive: true, staticPlot: true };

function draw(workers) {
  const one = new Set(workers.map(each => server(each.worker))).size === 1;  // else two may have the same number
  const labels = workers.map(each => one ? `worker ${pid(each.worker)}` : each.worker);
  const colours = { hits: "#0b8f66", remote_hits: "#d98e04", misses: "#b3413b" };
  Plotly.react("reads", Object.keys(names).map(kind => ({
    type: "bar", orientation: "h", name: names[kind], y: labels,
    x: workers.map(each => (rates[each.worker] || {})[kind] || 0), marker: { color: colours[kind] },
  })), layout("Reads a second", { barmode: "stack", xaxis: { rangemode: "tozero", automargin: true, gridcolor: grid() } }), quiet);
  Plotly.react("ages", [{
    type: "bar", orientation: "h", y: labels, x: workers.map(each => served[each.worker] ?? 0), marker: { color: "#0b8f66" },
  }], layout("Seconds for which the old price was seen served", {
    xaxis: { range: [0, bound * 1.2], automargin: true, gridcolor: grid() },
    shapes: [{ type: "line", x0: bound, x1: bound, y0: 0, y1: 1, yref: "paper", line: { color: "#b3413b", dash: "dash" } }],
    annotations: [{ x: bound, y: 1, yref: "paper", yanchor: "bottom", text: "the bound", showarrow: false }],
  }), quiet);
}

async function poll() {
  let found;
  try { found = await read("data"); } catch { return; }
  const { now, workers } = found;
  if (found.change && (!change || found.change.at > change.at)) { change = found.change; served = {}; }
  for (const each of workers) {
    const last = before[each.worker];
    if (last && each.at - last.at > 0.8) {
      rates[each.worker] = Object.fromEntries(Object.keys(names).map(kind => [kind, Math.max(0, each[kind] - last[kind]) / (each.at - last.at)]));
      before[each.worker] = each;
    } else if (!last) before[each.worker] = each;
    if (change && each.price !== change.price) served[each.worker] = Math.max(0, each.at - change.at);
  }
  cells("workers", workers.map(each => [each.worker, ...[
    number(each.pages), number(each.trips), number(each.hits), number(each.remote_hits), number(each.misses),
    `${number(each.hit_ratio * 100)} %`, number(each.entries),
    number(each.prefetched), number(each.prefetch_used)].map(text => [text, false])]));
  const visited = workers.filter(each => each.pages), on = workers.filter(each => each.prefetch).length;
  const trips = visited.reduce((sum, each) => sum + each.trips, 0) / Math.max(1, visited.length);
  document.getElementById("along").textContent =
    `${on === workers.length ? "On" : on ? `On in ${on} of ${workers.length} workers` : "Off"}: ${number(trips)} round trips a page.`;
  cells("served", workers.map(each => {
    const old = change && each.price !== change.price;
    return [each.worker, [each.price, old], [old ? `${number(Math.max(0, each.at - change.at))} s` : "", old]];
  }));
  if (change) {
    const late = workers.filter(each => each.price !== change.price).length;
    document.getElementById("agreed").textContent = late ? `${late} of ${workers.length} still serve ${change.before}` : `all serve ${change.price}`;
  }
  const out = document.getElementById("out");
  if (out) out.textContent = workers.some(each => each.outage && now - each.at < 2) ? "The server is out; copies are served." : "The server answers.";
  draw(workers);
}

document.getElementById("change").addEventListener("click", async () => { change = await post("change"); served = {}; });
let visiting = 0;
document.getElementById("prefetch").addEventListener("click", async () => {
  await post("prefetch");
  const me = ++visiting;
  for (let visits = 1; me === visiting && visits <= 120; visits += 1) {
    await Promise.all([fetch(`../${visits % 5}/`), new Promise(done => setTimeout(done, 250))]);
    document.getElementById("visits").textContent = `${visits} visits to the shop.`;
  }
});
document.getElementById("mine").addEventListener("click", async () => {
  const own = document.getElementById("own");
  own.textContent = "reading …";
  const { price } = await post("change");
  const count = async credentials => {
    const reads = await Promise.all(Array.from({ length: 20 }, () => read("mine", credentials)));
    return reads.filter(each => each.price === price).length;
  };
  const [stranger, visitor] = [await count("omit"), await count("same-origin")];
  own.textContent = `a stranger saw the new price ${stranger} times of 20, the visitor ${visitor} times of 20`;
});
document.getElementById("outage")?.addEventListener("click", async () => {
  const { seconds } = await post("outage");
  const end = Date.now() + seconds * 1000;
  let visits = 0, answered = 0;
  while (Date.now() < end) {  // without visitors no worker would find out
    visits += 1;
    answered += (await fetch("../1/")).ok;
    document.getElementById("sold").textContent = `${answered} of ${visits} visits to the shop answered meanwhile.`;
  }
});

(async () => {
  for (;;) {
    await poll();
    await new Promise(done => setTimeout(done, 250));
  }
})();
