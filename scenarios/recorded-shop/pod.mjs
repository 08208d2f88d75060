// One pod of the shop: serves what it is for, then talks to the others, and writes one JSON line for each attempt.
// node pod.mjs NAME LOG
import dgram from "node:dgram";
import fs from "node:fs";
import http from "node:http";
import net from "node:net";

const ADDRESSES = {
  "shop/web": "10.10.1.10",
  "shop/api": "10.10.1.11",
  "shop/mysql": "10.10.1.12",
  "kube-system/dns": "10.10.1.13",
};
const [name, logFile] = process.argv.slice(2);
const PATIENCE_MS = 1500;

/** What each pod asks for, in order; the intruder tries what it must not get. */
const TALKS = {
  "shop/client": ["dns", "shop/web:80", "shop/web:80", "shop/api:3000", "shop/mysql:3306"],
  "shop/web": ["dns", "shop/api:3000", "shop/mysql:3306"],
  "shop/api": ["dns", "shop/mysql:3306", "shop/web:80"],
  "default/intruder": ["dns", "shop/web:80", "shop/mysql:3306"],
};

function log(to, port, protocol, ok) {
  fs.appendFileSync(logFile, `${JSON.stringify({ from: name, to, port, protocol, ok })}\n`);
}

function get(to, port) {
  return new Promise((resolve) => {
    const request = http.get(
      { host: ADDRESSES[to], port, path: "/", agent: false, timeout: PATIENCE_MS },
      (response) => {
        response.resume();
        response.on("end", () => resolve(true));
      },
    );
    request.on("timeout", () => request.destroy());
    request.on("error", () => resolve(false));
  });
}

/** A database speaks first: the greeting says that the connection stands. */
function greet(to, port) {
  return new Promise((resolve) => {
    const socket = net.connect({ host: ADDRESSES[to], port, timeout: PATIENCE_MS });
    socket.on("data", () => {
      socket.end("bye");
      resolve(true);
    });
    socket.on("timeout", () => socket.destroy());
    socket.on("error", () => resolve(false));
    socket.on("close", () => resolve(false));
  });
}

/** One question for an A record (RFC 1035, 4.1). */
function ask() {
  return new Promise((resolve) => {
    const socket = dgram.createSocket("udp4");
    const question = Buffer.from("123401000001000000000000" + "037765620473686f7000" + "00010001", "hex");
    const give = (ok) => {
      clearTimeout(timer);
      socket.close();
      resolve(ok);
    };
    const timer = setTimeout(() => give(false), PATIENCE_MS);
    socket.on("message", () => give(true));
    socket.on("error", () => give(false));
    socket.send(question, 53, ADDRESSES["kube-system/dns"]);
  });
}

async function talk(text) {
  if (text === "dns") return log("kube-system/dns", 53, "udp", await ask());
  const [to, port] = text.split(":");
  const ok = port === "3306" ? await greet(to, Number(port)) : await get(to, Number(port));
  log(to, Number(port), "tcp", ok);
}

/** A request of the front end is one to the API, and one of the API is one to the database. */
function serveHttp(port, behind) {
  http
    .createServer(async (_request, response) => {
      if (behind !== undefined) await talk(behind);
      response.end(`${name}\n`);
    })
    .listen(port);
}

switch (name) {
  case "shop/web":
    serveHttp(80, "shop/api:3000");
    break;
  case "shop/api":
    serveHttp(3000, "shop/mysql:3306");
    break;
  case "shop/mysql":
    net
      .createServer((socket) => {
        socket.on("error", () => {});
        socket.write("J\0\0\0\n8.0.40-shop\0");
      })
      .listen(3306);
    break;
  case "kube-system/dns": {
    const socket = dgram.createSocket("udp4");
    socket.on("message", (question, from) => {
      const answer = Buffer.concat([question, Buffer.from("c00c000100010000003c00040a0a010a", "hex")]);
      answer.writeUInt16BE(0x8180, 2);
      answer.writeUInt16BE(1, 6);
      socket.send(answer, from.port, from.address);
    });
    socket.bind(53);
    break;
  }
}

// Standard input says when everybody is up.
process.stdin.once("data", async () => {
  for (const text of TALKS[name] ?? []) await talk(text);
  fs.appendFileSync(logFile, `${JSON.stringify({ from: name, done: true })}\n`);
});
