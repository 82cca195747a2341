// Starts GraphiQL on this server's schema, with the saved operations as tabs. A query in the
// address (?query=…&variables=…), as the dashboard links to, opens first.
const given = new URLSearchParams(location.search);
const query = given.get("query");
const variables = given.get("variables");
const saved = JSON.parse(document.getElementById("tabs").textContent);
const pretty = variables && variables !== "{}" ? JSON.stringify(JSON.parse(variables), null, 2) : undefined;
const defaultTabs = query ? [{ query, variables: pretty }, ...saved] : saved;
// What was typed the last time must not hide what was asked for now.
const storage = query ? { getItem: () => null, setItem() {}, removeItem() {}, clear() {}, length: 0 } : undefined;
/** Subscriptions, a socket each: what GraphiQL's fetcher needs of a client, and no more. */
const wsClient = {
  subscribe(payload, sink) {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/graphql`, "graphql-transport-ws");
    const send = (message) => socket.send(JSON.stringify(message));
    const ping = setInterval(() => socket.readyState === 1 && send({ type: "ping" }), 30_000);
    socket.onopen = () => send({ type: "connection_init" });
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "connection_ack") send({ id: "1", type: "subscribe", payload });
      if (message.type === "next") sink.next(message.payload);
      if (message.type === "error") sink.error(message.payload);
      if (message.type === "complete") sink.complete();
    };
    socket.onclose = ({ reason }) => {
      clearInterval(ping);
      sink.error(new Error(reason || "the connection is gone"));
    };
    return () => {
      socket.onclose = () => clearInterval(ping);
      socket.close();
    };
  },
};
const fetcher = GraphiQL.createFetcher({ url: "/graphql", wsClient });
ReactDOM.createRoot(document.getElementById("graphiql")).render(
  React.createElement(GraphiQL, { fetcher, defaultTabs, storage, shouldPersistHeaders: false }),
);
