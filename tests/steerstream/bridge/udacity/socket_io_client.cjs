// Plays Udacity's simulator with npm's socket.io-client 2.5.0, which speaks Engine.IO 3.
// Arguments: port, picture, number of telemetries, culture. Prints the answers as JSON.
const fs = require("fs");
const io = require("socket.io-client");

const [port, picture, count, culture] = process.argv.slice(2);
const image = fs.readFileSync(picture).toString("base64");
const number = new Intl.NumberFormat(culture, { minimumFractionDigits: 4, maximumFractionDigits: 4 });
const socket = io(`http://127.0.0.1:${port}`, { transports: ["websocket"], reconnection: false });
const answers = [];

function tell() {
  const manual = answers.length === 2;
  const told = { steering_angle: -1.2345, throttle: 0.1, speed: 12.5 };
  for (const name of Object.keys(told)) told[name] = number.format(told[name]);
  socket.emit("telemetry", manual ? {} : { ...told, image });
}

function take(answer) {
  answers.push(answer);
  if (answers.length < Number(count)) return tell();
  console.log(JSON.stringify(answers));
  socket.close();
}

socket.on("connect", tell);
socket.on("steer", take);
socket.on("manual", () => take("manual"));
socket.on("connect_error", (error) => {
  console.error(String(error));
  process.exit(1);
});
