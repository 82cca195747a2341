// The way to the API: queries over HTTP, news over a WebSocket. Same origin only.

/** An answer that the API refused, with its code and hint. */
export class Refusal extends Error {
  constructor(error) {
    super(error.message);
    this.code = error.extensions?.code;
    this.hint = error.extensions?.hint;
  }
}

const address = (query, variables) =>
  new URLSearchParams({ query: query.trim(), variables: JSON.stringify(variables) }).toString();

/**
 * Asks a query. By GET, so that what is pinned to a position comes from the cache for ever; what is
 * not is asked for anew each time, or news would be answered with what was kept from before.
 */
export async function ask(query, variables = {}) {
  const response = await fetch(`/graphql?${address(query, variables)}`, {
    cache: variables.asOf ? "default" : "no-cache",
    headers: { accept: "application/graphql-response+json" },
  });
  const body = await response.json();
  if (body.errors) throw new Refusal(body.errors[0]);
  return { data: body.data, position: body.extensions?.assay?.position ?? null };
}

/** GraphiQL with this query. */
export const askLink = (query, variables) => `/graphiql?${address(query, variables)}`;

const RETRY_MS = 1_000;
const RETRY_MS_MAX = 30_000;
const PING_MS = 30_000;

/**
 * Tells of everything new after a place of the feed, through broken connections, without a gap.
 * `onState` hears "live" and "away".
 */
export function follow(after, onNews, onState) {
  let place = after;
  let wait = RETRY_MS;
  const connect = () => {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/graphql`, "graphql-transport-ws");
    const send = (message) => socket.send(JSON.stringify(message));
    const ping = setInterval(() => socket.readyState === 1 && send({ type: "ping" }), PING_MS);
    socket.onopen = () => send({ type: "connection_init" });
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "connection_ack") {
        wait = RETRY_MS;
        onState("live");
        const query = "subscription ($after: FeedPosition) { news(afterPosition: $after) { position kind id } }";
        send({ id: "1", type: "subscribe", payload: { query, variables: { after: place } } });
      } else if (message.type === "next" && message.payload.data) {
        place = message.payload.data.news.position;
        onNews(message.payload.data.news);
      } else if (message.type === "next" || message.type === "error") {
        // The feed was begun anew: whatever is shown is old.
        place = null;
        onNews(null);
        socket.close();
      }
    };
    socket.onclose = () => {
      clearInterval(ping);
      onState("away");
      setTimeout(connect, wait);
      wait = Math.min(wait * 2, RETRY_MS_MAX);
    };
  };
  connect();
}
