// The live page. What vehicles and servers say arrives as JSON and is shown as text, never as markup.
"use strict";

const SILENT_MS = 3000; // Without an event for so long, the page's process stands still.
const TRACE_MS = 10000;
const COURSE_POINTS = 300;
const LOST_SHOWN_MS = 15000;
const VEHICLE_WIDTH_M = 1.85;
const FARTHEST_M = 90;
const COLLATOR = new Intl.Collator(undefined, { numeric: true });
const SCHEMATIC = { width_px: 640, height_px: 360, horizontal_fov_deg: 45, mount_height_m: 1.4, horizon_fraction: 0.42 };
const TONES = { VALID: "good", WARMING_UP: "busy", HELD: "bad", FALLBACK: "bad" };

const byId = (id) => document.getElementById(id);
const state = {
  servers: [], sessions: [], history: new Map(), server: null,
  vehicle: null, about: null, answers: [], picture: null, limits: new Map(),
  sort: "vehicle", descending: false, filter: "", heardAt: performance.now(), isOpen: false,
};

/** Make an element with text in it. */
function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Change an element's text only where it differs, so that a selection in it stays. */
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function milliseconds(value) {
  return value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
}

/** A number without digits that nobody reads: 19.9955 is 20. */
function short(value) {
  return String(Number(value.toFixed(value < 100 ? 1 : 0)));
}

function duration(ms) {
  const s = Math.floor(ms / 1000);
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  return s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
}

function signed(value, digits) {
  const text = Math.abs(value).toFixed(digits);
  const isZero = Number(text) === 0;
  return `${isZero ? " " : value < 0 ? "−" : "+"}${text}`;
}

// Events.

let source = null;

function connect() {
  if (source) source.close();
  const query = state.vehicle === null ? "" : `?vehicle=${encodeURIComponent(state.vehicle)}`;
  source = new EventSource(`events${query}`);
  const on = (name, take) => source.addEventListener(name, (event) => {
    state.heardAt = performance.now();
    state.isOpen = true;
    state.isFull = false;
    take(event.data);
  });
  on("history", (data) => {
    state.history = new Map(Object.entries(JSON.parse(data)));
  });
  on("state", (data) => takeState(JSON.parse(data)));
  on("vehicle", (data) => takeVehicle(JSON.parse(data)));
  on("answers", (data) => takeAnswers(JSON.parse(data)));
  on("picture", (data) => takePicture(JSON.parse(data)));
  source.addEventListener("full", (event) => {
    state.isFull = event.data;
    showAlarm();
  });
  const opened = source;
  source.onerror = () => {
    state.isOpen = false;
    showAlarm();
    // The browser tries again by itself unless it was answered with an error.
    if (opened.readyState === EventSource.CLOSED) setTimeout(() => opened === source && connect(), 1000);
  };
}

function takeState(news) {
  state.servers = news.servers;
  state.sessions = news.sessions;
  for (const server of news.servers) {
    if (!server.point) continue;
    const points = state.history.get(server.target) || [];
    const last = points[points.length - 1];
    if (last && server.point[0] < last[0]) points.length = 0;
    if (!last || server.point[0] !== last[0]) points.push(server.point);
    while (points.length > COURSE_POINTS) points.shift();
    state.history.set(server.target, points);
  }
  if (!state.servers.some((server) => server.target === state.server)) {
    state.server = state.servers.length ? state.servers[0].target : null;
  }
  if (state.vehicle === null && location.hash.length < 2 && state.sessions.length && !state.left) {
    choose(ordered()[0].vehicle);
  }
  show();
}

function takeVehicle(about) {
  if (about.vehicle !== state.vehicle) return;
  if (about.state === "here") {
    if (!state.about || state.about.session !== about.session) forgetDrive();
    state.about = about;
    state.lost = "";
  } else if (about.state === "ended") {
    state.lost = about.by === "client" ? "The vehicle ended its session." : `Lost: ${inWords(about.by)}.`;
  } else if (about.state === "lost") {
    state.lost = `Not shown in full: ${about.why}.`;
  } else if (!state.lost) {
    state.lost = state.about ? "Lost: its session is gone." : "No session of this name is open.";
  }
  showVehicle();
}

function takeAnswers(answers) {
  const now = performance.now();
  state.answeredAt = now;
  for (const answer of answers) {
    const last = state.answers[state.answers.length - 1];
    const passed = last ? answer.capture_ms - last.capture_ms : 0;
    // A clock that was set, or a recording from its start again.
    if (passed < 0 || passed > TRACE_MS) state.answers.length = 0;
    state.answers.push(answer);
    for (const limit of answer.limits) state.limits.set(limit, answer.capture_ms);
  }
  const newest = state.answers[state.answers.length - 1];
  while (newest.capture_ms - state.answers[0].capture_ms > TRACE_MS || state.answers.length > 2000) {
    state.answers.shift();
  }
  for (const [limit, when] of state.limits) {
    if (newest.capture_ms - when > TRACE_MS) state.limits.delete(limit);
  }
  showVehicle();
}

function takePicture({ jpeg, view, is_mapped }) {
  const image = new Image();
  image.onload = () => {
    // A vehicle may send a part of its picture, scaled to the network's shape: it is shown in its true one.
    const part = view || {
      left_px: 0, top_px: 0, right_px: image.naturalWidth, bottom_px: image.naturalHeight,
      source_width_px: image.naturalWidth, source_height_px: image.naturalHeight,
    };
    const wide = part.right_px - part.left_px, tall = part.bottom_px - part.top_px;
    if (!(wide > 0 && tall > 0)) return;
    state.picture = { image, part, wide, tall, isMapped: is_mapped };
    byId("road").style.aspectRatio = String(Math.min(3, Math.max(16 / 9, wide / tall)));
    drawRoad();
  };
  // What cannot be shown leaves the picture before it.
  if (jpeg) image.src = `data:image/jpeg;base64,${jpeg}`;
}

function forgetDrive() {
  state.answers = [];
  state.limits = new Map();
  state.picture = null;
}

// What is chosen.

function choose(vehicle) {
  if (vehicle === state.vehicle) return;
  state.vehicle = vehicle;
  state.left = vehicle === null;
  state.about = null;
  state.lost = "";
  forgetDrive();
  history.replaceState(null, "", vehicle === null ? "#" : `#vehicle=${encodeURIComponent(vehicle)}`);
  const row = vehicle === null ? null : state.sessions.find((session) => session.vehicle === vehicle);
  if (row) state.server = row.target;
  connect();
  show();
}

function chosenByAddress() {
  const found = /^#vehicle=(.*)$/.exec(location.hash);
  if (!found) return null;
  try {
    return decodeURIComponent(found[1]);
  } catch {
    return null;
  }
}

function ordered() {
  const wanted = state.filter.toLowerCase();
  const rows = state.sessions.filter((row) =>
    !wanted || row.vehicle.toLowerCase().includes(wanted) || row.model.toLowerCase().includes(wanted));
  const key = state.sort;
  rows.sort((a, b) => {
    const order = typeof a[key] === "number" ? a[key] - b[key] : COLLATOR.compare(a[key], b[key]);
    return (state.descending ? -order : order) || COLLATOR.compare(a.vehicle, b.vehicle) ||
      (a.session < b.session ? -1 : 1);
  });
  return rows;
}

function step(by) {
  const rows = ordered();
  if (!rows.length) return;
  const at = rows.findIndex((row) => row.vehicle === state.vehicle);
  const next = at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + by, 0), rows.length - 1);
  choose(rows[next].vehicle);
  const chosen = document.querySelector('#rows tr[aria-selected="true"]');
  if (chosen) chosen.scrollIntoView({ block: "nearest" });
}

// Showing.

function show() {
  showServers();
  showTiles();
  showRows();
  showAlarm();
  drawCourse();
  showVehicle();
}

function tone(server) {
  if (server.link === "gone" || server.link === "silent" || server.status === "STUCK") return "bad";
  return server.link === "live" && server.status === "SERVING" ? "good" : "busy";
}

function stateOf(server) {
  if (server.link !== "live") return server.link;
  return server.status.toLowerCase();
}

function current() {
  return state.servers.find((server) => server.target === state.server);
}

function showServers() {
  const list = byId("servers");
  while (list.children.length > state.servers.length) list.lastChild.remove();
  state.servers.forEach((server, at) => {
    let item = list.children[at];
    if (!item) {
      item = element("li");
      const button = element("button", "server");
      button.type = "button";
      button.append(element("i"), element("b"), element("span"));
      button.addEventListener("click", () => {
        state.server = state.servers[at].target;
        show();
      });
      item.append(button);
      list.append(item);
    }
    const button = item.firstChild;
    button.dataset.tone = tone(server);
    button.setAttribute("aria-pressed", String(server.target === state.server));
    say(button.children[1], server.target);
    say(button.children[2], stateOf(server));
  });
  const server = current();
  if (!server || !server.models) {
    say(byId("about"), "");
    return;
  }
  const models = server.models.map((model) => `${model.name} ${model.precision}`).join(", ");
  const provider = server.models.length ? ` on ${server.models[0].provider}` : "";
  say(byId("about"), `${models}${provider} · v${server.version} · up ${duration(server.up_ms)}`);
}

function showTiles() {
  const there = state.servers.filter((server) => server.link === "live");
  const sum = (key) => there.reduce((total, server) => total + server[key], 0);
  const isThere = there.length > 0;
  say(byId("vehicles"), isThere ? String(sum("sessions")) : "–");
  say(byId("vehicles-of"), isThere ? `of ${sum("max_sessions")}` : "");
  const load = isThere ? Math.max(...there.map((server) => server.load)) : 0;
  say(byId("load"), isThere ? `${Math.round(100 * load)} %` : "–");
  byId("load-bar").style.width = `${Math.min(100, 100 * load)}%`;
  byId("load-bar").className = load > 0.9 ? "full" : "";
  say(byId("rate"), isThere ? sum("rate_hz").toFixed(0) : "–");
  const misses = isThere ? sum("misses") : 0;
  say(byId("misses"), isThere ? String(misses) : "–");
  const share = Math.max(0, ...there.map((server) => server.miss_share));
  say(byId("misses-of"), isThere && misses ? `${(100 * share).toFixed(2)} %` : "");
  byId("misses-tile").classList.toggle("bad", misses > 0);
}

function showAlarm() {
  const lines = [];
  if (state.isFull) {
    lines.push(state.isFull);
  } else if (!state.isOpen || performance.now() - state.heardAt > SILENT_MS) {
    lines.push("No news from the page's own process, steerstream watch. Trying again.");
  }
  for (const server of state.servers) {
    if (server.link === "gone") {
      const since = server.up_ms === undefined ? "" : ` Gone for ${duration(server.unheard_ms)}.`;
      lines.push(`${server.target} ${server.why}.${since} Trying again.`);
    } else if (server.link === "silent") {
      lines.push(`${server.target} has said nothing for ${duration(server.unheard_ms)}.`);
    } else if (server.status === "STUCK") {
      lines.push(`${server.target}: a step of the network takes longer than any vehicle waits.`);
    }
  }
  const alarm = byId("alarm");
  const text = lines.join(" ");
  alarm.hidden = !text;
  say(alarm, text);
  document.title = text ? "! steerstream" : "steerstream";
}

function lostRows() {
  const open = new Set(state.sessions.map((session) => session.vehicle));
  const rows = new Map();
  for (const server of state.servers) {
    if (server.link !== "live") continue;
    for (const ending of server.endings) {
      if (ending.by === "client" || ending.ago_ms > LOST_SHOWN_MS || open.has(ending.vehicle)) continue;
      rows.set(ending.vehicle, { key: `lost ${ending.session}`, vehicle: ending.vehicle,
        lost: `lost ${duration(ending.ago_ms)} ago: ${inWords(ending.by)}` });
    }
  }
  return [...rows.values()];
}

function newRow() {
  const row = element("tr");
  const name = element("td");
  const pick = element("button", "pick");
  pick.type = "button";
  name.append(pick);
  const latency = element("td");
  const meter = element("span", "meter");
  meter.append(element("i"));
  latency.append(element("span", "ms"), meter);
  row.append(name, element("td", "wide"), element("td", "number wide"), latency,
    element("td", "number"), element("td", "number wide"), element("td", "number wide muted"));
  row.addEventListener("click", () => choose(row.vehicle));
  return row;
}

function showRows() {
  const body = byId("rows");
  const wanted = [...lostRows(), ...ordered()];
  const present = new Map([...body.children].map((row) => [row.key, row]));
  wanted.forEach((session, at) => {
    const key = session.key || session.session;
    let row = present.get(key);
    if (row) present.delete(key);
    else {
      row = newRow();
      row.key = key;
    }
    if (body.children[at] !== row) body.insertBefore(row, body.children[at] || null);
    fillRow(row, session);
  });
  for (const row of present.values()) row.remove();
  const server = current();
  const shown = state.servers.reduce((total, item) => total + (item.sessions || 0), 0);
  let empty = "";
  if (!wanted.length) {
    if (state.filter && state.sessions.length) empty = "No vehicle matches the filter.";
    else if (server && server.link === "live") empty = "No vehicle has a session.";
    else empty = "Waiting for the server.";
  } else if (shown > state.sessions.length && state.sessions.length >= 256) {
    empty = `${state.sessions.length} of ${shown} vehicles are shown: those in trouble, then the oldest.`;
  }
  say(byId("empty"), empty);
  byId("empty").hidden = !empty;
}

function fillRow(row, session) {
  const [name, model, rate, latency, misses, held, age] = row.children;
  row.vehicle = session.vehicle;
  say(name.firstChild, session.vehicle);
  name.title = session.vehicle;
  const isChosen = session.vehicle === state.vehicle &&
    (!state.about || session.session === state.about.session || session.target !== state.about.target);
  row.setAttribute("aria-selected", String(isChosen));
  if (session.lost) {
    row.className = "bad off";
    say(model, "");
    say(rate, "");
    say(latency.firstChild, session.lost);
    latency.lastChild.hidden = true;
    return;
  }
  const isBad = session.trouble > 0 || session.validity === "HELD" || session.validity === "FALLBACK";
  row.className = `${isBad || !session.is_live ? "bad" : ""}${session.is_live ? "" : " off"}`;
  say(model, `${session.model} ${session.precision}`);
  say(rate, `${session.rate_hz.toFixed(1)} Hz`);
  const isAnswered = session.answers > 0 && session.total_ms > 0;
  say(latency.firstChild, isAnswered ? milliseconds(session.total_ms) : "–");
  const share = session.total_ms / session.budget_ms;
  const meter = latency.lastChild.firstChild;
  meter.style.width = `${Math.min(100, 100 * share)}%`;
  meter.className = share > 1 ? "over" : "";
  latency.title = `of ${short(session.budget_ms)} ms`;
  say(misses, String(session.misses));
  misses.classList.toggle("some", session.trouble > 0 && session.misses > 0);
  say(held, String(session.held));
  say(age, duration(session.open_ms));
}

// One vehicle in full.

function showVehicle() {
  const panel = byId("vehicle");
  if (state.vehicle === null) {
    panel.dataset.state = "none";
    panel.dataset.tone = "";
    say(byId("name"), "No vehicle chosen");
    say(byId("vehicle-about"), "Choose one from the list: arrow keys, or a click.");
    byId("validity").hidden = true;
    return;
  }
  const answer = state.answers[state.answers.length - 1];
  const session = state.sessions.find((row) => row.vehicle === state.vehicle);
  const isCut = Boolean(session && !session.is_live) || !state.isOpen;
  const isLost = Boolean(state.lost) || isCut;
  const silent = session ? session.silent_ms : 0;
  const isBad = isLost || Boolean(answer && TONES[answer.validity] === "bad");
  panel.dataset.state = isLost ? "lost" : answer ? "here" : state.about ? "here" : "none";
  panel.dataset.tone = isBad ? "bad" : "";
  say(byId("name"), state.vehicle);
  const facts = [];
  if (state.lost) facts.push(state.lost);
  else if (session) {
    facts.push(`${session.model} ${session.precision}`,
      `${session.rate_hz.toFixed(1)} of ${short(session.stated_hz)} Hz`, `open ${duration(session.open_ms)}`);
    if (session.resumed) facts.push("went on from a ticket");
    if (state.servers.length > 1) facts.push(session.target);
  }
  say(byId("vehicle-about"), facts.join(" · ") || "Looking for it.");
  showValidity(answer, isLost, silent);
  if (answer) showGauges(answer);
  showLimits(answer);
  showSpent(answer, session);
  drawRoad();
  drawTrace();
}

function showValidity(answer, isLost, silent) {
  const badge = byId("validity");
  badge.hidden = !answer && !isLost;
  if (badge.hidden) return;
  let text = answer ? answer.validity.toLowerCase().replace("_", " ") : "";
  let colour = answer ? TONES[answer.validity] || "busy" : "busy";
  if (answer && answer.skip) text = `held: ${answer.skip.toLowerCase().replaceAll("_", " ")}`;
  if (answer && colour === "bad" && answer.age_ms !== null) text += `, ${duration(answer.age_ms)} old`;
  if (isLost) [text, colour] = ["lost", "bad"];
  else if (silent > 1000) [text, colour] = [`silent for ${duration(silent)}`, "bad"];
  badge.dataset.tone = colour;
  if (!badge.children.length) badge.append(element("i"), element("span"));
  say(badge.lastChild, text);
}

/** The raw value where a limit changed it, and one predicted standard deviation. */
function more(limited, raw, stddev, text) {
  const deviation = stddev === null ? "" : `± ${text(stddev)}`;
  if (limited === null || raw === null || text(limited) === text(raw)) return deviation;
  return `raw ${text(raw).replace("-", "−")} ${deviation}`;
}

function showGauges(answer) {
  const [angle, speed, torque] = answer.limited;
  const [rawAngle, rawSpeed, rawTorque] = answer.raw;
  const [sdAngle, sdSpeed, sdTorque] = answer.stddev;
  const degrees = (rad) => (rad * 180) / Math.PI;
  say(byId("angle"), angle === null ? "–" : `${signed(degrees(angle), 1)}°`);
  say(byId("angle-more"), more(angle, rawAngle, sdAngle, (rad) => `${degrees(rad).toFixed(1)}°`));
  // Left is positive, and turns the wheel anticlockwise.
  byId("wheel").setAttribute("transform", `rotate(${angle === null ? 0 : -degrees(angle)})`);
  byId("wheel-raw").setAttribute("transform", `rotate(${rawAngle === null ? 0 : -degrees(rawAngle)})`);
  say(byId("speed"), speed === null ? "–" : (3.6 * speed).toFixed(0));
  say(byId("speed-mps"), speed === null ? "–" : `${speed.toFixed(1)} m/s`);
  say(byId("speed-more"), more(speed, rawSpeed, sdSpeed, (mps) => mps.toFixed(1)));
  say(byId("torque"), torque === null ? "–" : `${signed(torque, 2)} Nm`);
  say(byId("torque-more"), more(torque, rawTorque, sdTorque, (nm) => nm.toFixed(2)));
  // From 3 Nm to the left to 3 Nm to the right.
  const place = (value) => 50 - (50 * Math.min(3, Math.max(-3, value || 0))) / 3;
  const end = place(torque);
  byId("torque-bar").style.left = `${Math.min(50, end)}%`;
  byId("torque-bar").style.width = `${Math.abs(end - 50)}%`;
  byId("torque-raw").style.left = `${place(rawTorque)}%`;
}

function showLimits(answer) {
  const list = byId("limits");
  const acting = new Set(answer ? answer.limits : []);
  const names = [...state.limits.keys()].sort();
  const wanted = names.length ? names : [""];
  while (list.children.length > wanted.length) list.lastChild.remove();
  wanted.forEach((name, at) => {
    if (!list.children[at]) list.append(element("li"));
    const text = name ? name.toLowerCase().replaceAll("_", " ") : "No limit has acted for ten seconds.";
    say(list.children[at], text);
    list.children[at].className = name ? `chip${acting.has(name) ? " acts" : ""}` : "";
  });
}

function showSpent(answer, session) {
  if (!answer) return;
  const [queue, decode, infer, total] = answer.stages_ms;
  const budget = (state.about && state.about.budget_ms) || (session && session.budget_ms) || 50;
  const spent = byId("spent-text");
  say(spent, answer.skip && answer.detail ? answer.detail
    : `${total.toFixed(1)} of ${short(budget)} ms: queue ${queue.toFixed(1)}, decode ${decode.toFixed(1)}, ` +
      `infer ${infer.toFixed(1)} · batch of ${answer.batch_size}`);
  spent.title = spent.textContent;
  const bars = document.querySelectorAll(".stack i");
  [queue, decode, infer].forEach((value, at) => {
    bars[at].style.width = `${Math.min(100, (100 * value) / budget)}%`;
  });
}

// Drawing.

let colours = {};

function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["text", "muted", "faint", "line", "accent", "raw", "amber", "red", "queue", "decode", "infer", "card"]) {
    colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
}

function canvas(id) {
  const node = byId(id);
  const width = node.clientWidth;
  const height = node.clientHeight;
  if (!width || !height) return null;
  const scale = window.devicePixelRatio || 1;
  if (node.width !== Math.round(width * scale) || node.height !== Math.round(height * scale)) {
    node.width = Math.round(width * scale);
    node.height = Math.round(height * scale);
  }
  const pen = node.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  return { pen, width, height };
}

/** A label of the metrics, such as server_stopped, for people. */
function inWords(label) {
  return label.replaceAll("_", " ");
}

/** Round up to 1, 2 or 5 times a power of ten. */
function niceMost(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((most) => most >= value * 0.999);
}

function drawCourse() {
  const on = canvas("course");
  const points = state.history.get(state.server) || [];
  const server = current();
  const last = points[points.length - 1];
  showStages(server, last);
  if (!on || !last) return;
  const { pen, width, height } = on;
  const left = 52, bottom = height - 18, top = 14;
  // A few peaks may leave the drawing; they are counted beside it, so that the rest can be read.
  const slowest = points.map((point) => point[8] || 0).sort((a, b) => a - b);
  const most = niceMost(Math.max(2, 1.2 * slowest[Math.floor(0.93 * (slowest.length - 1))]));
  const x = (point) => width - 2 - ((last[0] - point[0]) / 60000) * (width - left - 2);
  const y = (ms) => Math.max(top - 6, bottom - (ms / most) * (bottom - top));
  pen.fillStyle = colours.faint;
  pen.strokeStyle = colours.line;
  pen.lineWidth = 1;
  pen.textAlign = "right";
  for (const part of [0, 0.5, 1]) {
    const at = Math.round(y(most * part)) + 0.5;
    pen.beginPath();
    pen.moveTo(left, at);
    pen.lineTo(width, at);
    pen.stroke();
    pen.fillText(`${short(most * part)} ms`, left - 6, at + 4);
  }
  pen.textAlign = "center";
  for (const s of [60, 45, 30, 15]) {
    const at = width - 2 - (s / 60) * (width - left - 2);
    pen.fillText(`−${s} s`, Math.max(left + 14, at), height - 3);
  }
  pen.textAlign = "right";
  pen.fillText("now", width - 2, height - 3);
  // Stages on top of each other, then the slowest answers as a line.
  const layers = [["queue", 4], ["decode", 5], ["infer", 6]];
  const shown = points.filter((point) => x(point) >= left);
  for (const run of runs(shown)) {
    const base = run.map(() => 0);
    for (const [name, column] of layers) {
      pen.beginPath();
      run.forEach((point, at) => pen.lineTo(x(point), y(base[at])));
      for (let at = run.length - 1; at >= 0; at--) {
        base[at] += run[at][column];
        pen.lineTo(x(run[at]), y(base[at]));
      }
      pen.fillStyle = colours[name];
      pen.fill();
    }
    pen.beginPath();
    run.forEach((point) => pen.lineTo(x(point), y(point[8])));
    pen.strokeStyle = colours.text;
    pen.lineWidth = 1.25;
    pen.lineJoin = "round";
    pen.stroke();
  }
  // What was missed: marks along the axis, with a hint of a line.
  pen.fillStyle = colours.red;
  for (const point of shown) {
    if (!point[3]) continue;
    pen.globalAlpha = 0.16;
    pen.fillRect(x(point) - 1, top, 2, bottom - top);
    pen.globalAlpha = 1;
    pen.fillRect(x(point) - 1, bottom - 7, 2, 7);
  }
  const peak = slowest[slowest.length - 1];
  if (peak > most) {
    pen.fillStyle = colours.muted;
    pen.fillText(`highest ${milliseconds(peak)}`, width - 2, 10);
  }
}

/** Split points where there were no answers. */
function runs(points) {
  const found = [];
  let run = [];
  for (const point of points) {
    const last = run[run.length - 1];
    if (point[4] === null || (last && point[0] - last[0] > 2000)) {
      if (run.length > 1) found.push(run);
      run = [];
    }
    if (point[4] !== null) run.push(point);
  }
  if (run.length > 1) found.push(run);
  return found;
}

function showStages(server, point) {
  const legend = byId("stages");
  if (!legend.children.length) {
    for (const name of ["queue", "decode", "infer", "total"]) {
      const key = element("span", `key ${name}`, name === "total" ? "slowest 1 % " : `${name} `);
      key.append(element("b"));
      legend.append(key);
    }
  }
  const isLive = Boolean(server && server.link === "live" && point && point[4] !== null);
  [4, 5, 6, 8].forEach((column, at) => {
    say(legend.children[at].lastChild, isLive ? milliseconds(point[column]) : "");
  });
}

/** Project the vehicle's way onto a picture; coordinates as in CONTEXT.md: x forward, y left. */
function projection(camera, box) {
  const focal = camera.width_px / 2 / Math.tan((camera.horizontal_fov_deg * Math.PI) / 360);
  const horizon = camera.horizon_fraction * camera.height_px;
  return (forward, left) => [
    box.x + box.scale * (camera.width_px / 2 - (focal * left) / forward),
    box.y + box.scale * (horizon + (focal * camera.mount_height_m) / forward),
  ];
}

/**
 * The middle of the way: points [forward, left, heading, milliseconds]. It goes by the steps of a horizon,
 * [milliseconds, angle, speed] each, and by the angle alone where there is none.
 */
function way(angle, speed, horizon, about) {
  const points = [];
  const stride = 0.5;
  let forward = 0, left = 0, heading = 0, passed = 0, next = 0;
  while (forward < FARTHEST_M && points.length < 400 && Math.abs(heading) < 1.2) {
    points.push([forward, left, heading, passed]);
    while (next < horizon.length && horizon[next][0] <= passed) {
      angle = horizon[next][1] ?? angle;
      speed = horizon[next][2] ?? speed;
      next += 1;
    }
    heading += (stride * Math.tan(angle / about.steering_ratio)) / about.wheelbase_m;
    forward += stride * Math.cos(heading);
    left += stride * Math.sin(heading);
    passed += (1000 * stride) / Math.max(1, speed ?? 10);
  }
  return points;
}

function drawRoad() {
  const on = canvas("road");
  if (!on) return;
  const { pen, width, height } = on;
  const answer = state.answers[state.answers.length - 1];
  const picture = state.picture;
  const about = state.about;
  const server = state.servers.find((item) => item.target === (about && about.target));
  const isDescribed = Boolean(about && about.camera.horizontal_fov_deg && about.camera.mount_height_m);
  let note = "";
  let camera = null;
  let box = null;
  if (picture) {
    const { part, wide, tall } = picture;
    // It fills the frame; what does not fit is cut off.
    const scale = Math.max(width / wide, height / tall);
    const y = (height - tall * scale) * 0.55;
    const x = (width - wide * scale) / 2;
    pen.drawImage(picture.image, x, y, wide * scale, tall * scale);
    if (picture.isMapped) {
      note = "No way is drawn, as the picture is mapped to the network's camera.";
    } else if (isDescribed) {
      camera = { ...about.camera, width_px: part.source_width_px, height_px: part.source_height_px };
      box = { x: x - part.left_px * scale, y: y - part.top_px * scale, scale };
    } else note = "No way is drawn, as the vehicle has not described its camera (drive --camera-file).";
  } else {
    camera = SCHEMATIC;
    const scale = Math.max(width / camera.width_px, height / camera.height_px);
    box = { x: (width - camera.width_px * scale) / 2, y: (height - camera.height_px * scale) / 2, scale };
    drawSchematic(pen, width, height, projection(camera, box), box.y + box.scale * camera.horizon_fraction * camera.height_px);
    note = server && !server.pictures ? "No picture: the server runs without --watch-pictures." : "";
  }
  say(byId("road-note"), note);
  if (!answer || !camera || answer.limited[0] === null || !about) return;
  const project = projection(camera, box);
  const isBad = TONES[answer.validity] === "bad" || Boolean(state.lost);
  const colour = isBad ? "255, 92, 82" : answer.limits.length ? "255, 190, 70" : "74, 190, 255";
  pen.save();
  pen.beginPath();
  pen.rect(0, 0, width, height);
  pen.clip();
  const [angle, speed] = answer.limited;
  const middle = way(angle, speed, answer.horizon, about);
  drawBand(pen, middle, project, colour, height);
  if (answer.horizon.length) drawSteps(pen, middle, answer.horizon, project);
  else if (answer.raw[0] !== null) drawLine(pen, way(answer.raw[0], speed, [], about), project);
  pen.restore();
}

function drawSchematic(pen, width, height, project, horizon) {
  const sky = pen.createLinearGradient(0, 0, 0, height);
  sky.addColorStop(0, "#0c1118");
  sky.addColorStop(horizon / height, "#1a232e");
  sky.addColorStop(Math.min(1, horizon / height + 0.01), "#141a21");
  sky.addColorStop(1, "#10151b");
  pen.fillStyle = sky;
  pen.fillRect(0, 0, width, height);
  pen.strokeStyle = "#2b3743";
  pen.fillStyle = "#8794a2";
  pen.textAlign = "left";
  for (const distance of [5, 10, 20, 40]) {
    const [, y] = project(distance, 0);
    pen.beginPath();
    pen.moveTo(0, y);
    pen.lineTo(width, y);
    pen.stroke();
    pen.fillText(`${distance} m`, 8, y - 4);
  }
}

function drawBand(pen, points, project, colour, height) {
  const half = VEHICLE_WIDTH_M / 2;
  const edge = (side) => points.map(([forward, left, heading]) => {
    const x = forward - side * half * Math.sin(heading);
    const y = left + side * half * Math.cos(heading);
    return x > 0.5 ? project(x, y) : null;
  }).filter(Boolean);
  const lefts = edge(1), rights = edge(-1);
  if (!lefts.length || !rights.length) return;
  const far = Math.min(lefts[lefts.length - 1][1], rights[rights.length - 1][1]);
  const fade = pen.createLinearGradient(0, height, 0, Math.min(far, height - 1));
  fade.addColorStop(0, `rgba(${colour}, .62)`);
  fade.addColorStop(0.75, `rgba(${colour}, .38)`);
  fade.addColorStop(1, `rgba(${colour}, .05)`);
  pen.beginPath();
  for (const [x, y] of [...lefts, ...rights.reverse()]) pen.lineTo(x, y);
  pen.closePath();
  pen.fillStyle = fade;
  pen.fill();
  pen.strokeStyle = `rgba(${colour}, .9)`;
  pen.lineWidth = 1.5;
  for (const side of [lefts, rights]) {
    pen.beginPath();
    for (const [x, y] of side) pen.lineTo(x, y);
    pen.stroke();
  }
}

/** Mark where the vehicle is at each step of its horizon. */
function drawSteps(pen, points, horizon, project) {
  pen.fillStyle = "#ffffff";
  for (const [after] of horizon) {
    const point = points.find(([forward, , , passed]) => passed >= after && forward > 1);
    if (!point) continue;
    const [x, y] = project(point[0], point[1]);
    pen.beginPath();
    pen.arc(x, y, 2.2, 0, 2 * Math.PI);
    pen.fill();
  }
}

function drawLine(pen, points, project) {
  pen.beginPath();
  for (const [forward, left] of points) if (forward > 1) pen.lineTo(...project(forward, left));
  pen.strokeStyle = "rgba(255, 255, 255, .85)";
  pen.lineWidth = 1.5;
  pen.setLineDash([5, 5]);
  pen.stroke();
  pen.setLineDash([]);
}

function drawTrace() {
  const on = canvas("trace");
  const answers = state.answers;
  if (!on || !answers.length) return;
  const { pen, width, height } = on;
  // The margin is for half a line, and for what is written at the lowest end.
  const left = 52, gap = 16, margin = 2;
  const lanes = [
    { at: 0, share: 0.56, unit: "°", factor: 180 / Math.PI, least: 4, isCentred: true },
    { at: 1, share: 0.22, unit: " m/s", factor: 1, least: 5, isCentred: false },
    { at: 2, share: 0.22, unit: " Nm", factor: 1, least: 0.5, isCentred: true },
  ];
  const newest = answers[answers.length - 1].capture_ms;
  const x = (answer) => width - 1 - ((newest - answer.capture_ms) / TRACE_MS) * (width - left - 1);
  // Where limits act and where values are held, over all lanes.
  answers.forEach((answer, at) => {
    const isHeld = TONES[answer.validity] === "bad";
    if (!isHeld && !answer.limits.length) return;
    // Whole pixels, so that neighbours leave no seam.
    const from = Math.max(left, Math.round(at ? x(answers[at - 1]) : x(answer) - 2));
    const to = Math.round(x(answer));
    if (to <= left) return;
    pen.fillStyle = isHeld ? colours.red : colours.amber;
    pen.globalAlpha = isHeld ? 0.35 : 0.22;
    pen.fillRect(from, 0, Math.max(1, to - from), height);
  });
  pen.globalAlpha = 1;
  let top = margin;
  for (const lane of lanes) {
    const tall = lane.share * (height - 2 * gap - 2 * margin);
    drawLane(pen, answers, lane, { x, left, right: width, top, bottom: top + tall });
    top += tall + gap;
  }
}

function drawLane(pen, answers, lane, box) {
  const values = (key) => answers.map((answer) => answer[key][lane.at]).filter((value) => value !== null);
  const limited = values("limited").map((value) => value * lane.factor);
  const raw = values("raw").map((value) => value * lane.factor);
  if (!limited.length && !raw.length) return;
  const all = [...limited, ...raw];
  let high, low;
  if (lane.isCentred) {
    high = niceMost(Math.max(lane.least, ...all.map(Math.abs)));
    low = -high;
  } else {
    high = niceMost(Math.max(lane.least, ...all));
    low = Math.min(0, ...all);
  }
  const clampTop = (y) => Math.min(Math.max(y, box.top), box.bottom);
  const y = (value) => clampTop(box.bottom - ((value * lane.factor - low) / (high - low)) * (box.bottom - box.top));
  pen.strokeStyle = colours.line;
  pen.lineWidth = 1;
  const zero = Math.round(y(0)) + 0.5;
  pen.beginPath();
  pen.moveTo(box.left, zero);
  pen.lineTo(box.right, zero);
  pen.stroke();
  pen.fillStyle = colours.faint;
  pen.textAlign = "right";
  pen.fillText(`${high}${lane.unit}`, box.left - 5, box.top + 10);
  if (lane.isCentred) pen.fillText(`−${high}${lane.unit}`, box.left - 5, box.bottom);
  // One standard deviation to either side of the raw value.
  pen.beginPath();
  const banded = answers.filter((answer) => answer.raw[lane.at] !== null && answer.stddev[lane.at] !== null);
  for (const answer of banded) if (box.x(answer) >= box.left) pen.lineTo(box.x(answer), y(answer.raw[lane.at] + answer.stddev[lane.at]));
  for (const answer of [...banded].reverse()) if (box.x(answer) >= box.left) pen.lineTo(box.x(answer), y(answer.raw[lane.at] - answer.stddev[lane.at]));
  pen.globalAlpha = 0.2;
  pen.fillStyle = colours.raw;
  pen.fill();
  pen.globalAlpha = 1;
  for (const [key, colour, wide] of [["raw", colours.raw, 1], ["limited", colours.accent, 2]]) {
    pen.beginPath();
    let isDown = false;
    for (const answer of answers) {
      const value = answer[key][lane.at];
      if (value === null || box.x(answer) < box.left) isDown = false;
      else if (isDown) pen.lineTo(box.x(answer), y(value));
      else {
        pen.moveTo(box.x(answer), y(value));
        isDown = true;
      }
    }
    pen.strokeStyle = colour;
    pen.lineWidth = wide;
    pen.lineJoin = "round";
    pen.stroke();
  }
}

// Keys, clicks, light and dark.

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  const isLight = getComputedStyle(document.documentElement).colorScheme === "light";
  say(byId("theme"), isLight ? "Dark" : "Light");
  readColours();
  show();
}

function toggleTheme() {
  const isLight = getComputedStyle(document.documentElement).colorScheme === "light";
  const theme = isLight ? "dark" : "light";
  try {
    localStorage.setItem("theme", theme);
  } catch { /* A browser may refuse to keep anything. */ }
  setTheme(theme);
}

const KEYS = {
  ArrowDown: () => step(1), j: () => step(1), ArrowUp: () => step(-1), k: () => step(-1),
  Home: () => step(-1e9), End: () => step(1e9),
  "/": () => byId("filter").focus(),
  "?": () => byId("keys").showModal(),
  t: toggleTheme,
  s: () => {
    const at = state.servers.findIndex((server) => server.target === state.server);
    if (at >= 0) state.server = state.servers[(at + 1) % state.servers.length].target;
    show();
  },
  Escape: () => choose(null),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
  if (event.target === byId("filter")) {
    if (event.key === "Escape") {
      setFilter("");
      byId("filter").blur();
    } else if (event.key === "Enter" || event.key === "ArrowDown") {
      byId("filter").blur();
      step(state.vehicle !== null && ordered().some((row) => row.vehicle === state.vehicle) ? 0 : 1);
    } else return;
    event.preventDefault();
    return;
  }
  const act = KEYS[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});

function setFilter(text) {
  byId("filter").value = text;
  state.filter = text;
  showRows();
}

byId("filter").addEventListener("input", (event) => setFilter(event.target.value));
byId("theme").addEventListener("click", toggleTheme);
byId("help").addEventListener("click", () => byId("keys").showModal());
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const key = button.dataset.sort;
    state.descending = state.sort === key ? !state.descending : key !== "vehicle" && key !== "model";
    state.sort = key;
    for (const head of document.querySelectorAll("th")) head.removeAttribute("aria-sort");
    button.parentElement.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
    showRows();
  });
}
window.addEventListener("resize", show);
window.addEventListener("hashchange", () => choose(chosenByAddress()));
matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => setTheme());
setInterval(() => {
  showAlarm();
  showVehicle();
}, 1000);

let kept = null;
try {
  kept = localStorage.getItem("theme");
} catch { /* As above. */ }
setTheme(kept === "light" || kept === "dark" ? kept : undefined);
state.vehicle = chosenByAddress();
connect();
