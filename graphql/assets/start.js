// Starts GraphiQL on this server's schema, with the saved operations as tabs.
const defaultTabs = JSON.parse(document.getElementById("tabs").textContent);
const fetcher = GraphiQL.createFetcher({ url: "/graphql" });
ReactDOM.createRoot(document.getElementById("graphiql")).render(
  React.createElement(GraphiQL, { fetcher, defaultTabs, shouldPersistHeaders: false }),
);
