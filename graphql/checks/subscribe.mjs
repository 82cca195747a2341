// Follows rating actions through a hundred broken connections; then says "live", stays, and prints
// all that was received.
// Arguments: address of the server, position to begin after, position to end at.
import { createClient } from "graphql-ws";
import { WebSocket } from "ws";

const [, , url, after, end] = process.argv;
const KILLS = 100;
const query = `subscription ($after: FeedPosition) {
  ratingActions(afterPosition: $after) { position isReplay ratingAction { kind seq entity { slug } } }
}`;

let seed = 7;
const random = (below) => (seed = (seed * 1103515245 + 12345) % 2147483648) % below;

/** Subscribes after `after`; breaks the socket after `count` messages. Resolves with them. */
function session(after, count) {
  return new Promise((resolve, reject) => {
    const received = [];
    let socket;
    const client = createClient({
      url: url.replace("http", "ws") + "/graphql",
      webSocketImpl: WebSocket,
      retryAttempts: 0,
      on: { opened: (opened) => (socket = opened) },
    });
    client.subscribe({ query, variables: { after } }, {
      next(message) {
        if (message.errors) return reject(new Error(JSON.stringify(message.errors)));
        if (received.length === count) return; // Already on its way when the socket broke.
        received.push(message.data.ratingActions);
        if (received.length === count || received.at(-1).position === end) {
          socket.terminate();
          resolve(received);
        }
      },
      error: () => resolve(received),
      complete: () => {},
    });
  });
}

const all = [];
let last = after;
for (let kill = 0; kill < KILLS && last !== end; kill += 1) {
  const received = await session(last, 1 + random(6));
  all.push(...received);
  last = received.at(-1)?.position ?? last;
}
setTimeout(() => console.log("live"), 1_000);
while (last !== end) {
  const received = await session(last, Infinity);
  all.push(...received);
  last = received.at(-1)?.position ?? last;
}
console.log(JSON.stringify(all));
process.exit(0);
