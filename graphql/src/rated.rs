//! The fields that every rated entity has, written once.
//!
//! async-graphql can merge objects, but not when they refer to one another, as entities and their
//! ratings do: whichever is registered second comes out empty. So the resolvers of each type are
//! generated whole, the shared ones first.

/// Implements the GraphQL object of one kind of entity: the shared fields, then its own.
macro_rules! rated_object {
    ($(#[doc = $doc:literal])+ $name:ident { $($own:tt)* }) => {
        $(#[doc = $doc])+
        #[async_graphql::Object]
        impl $name {
            /// The global id.
            pub(crate) async fn id(&self) -> async_graphql::ID {
                crate::id::NodeId::Entity(self.0.row().slug.clone()).into()
            }

            /// What kind of thing it is.
            pub(crate) async fn kind(&self) -> Result<crate::entity::EntityKind, ApiError> {
                self.0.kind()
            }

            /// Its readable name, unique over all kinds and chains: operator-1-0x…, avs-1-0x…,
            /// operator-set-1-0x…-0, lrt-1-0x…
            pub(crate) async fn slug(&self) -> &String {
                &self.0.row().slug
            }

            /// The chain it lives on.
            pub(crate) async fn chain_id(&self) -> crate::scalar::ChainId {
                crate::scalar::ChainId(self.0.row().chain_id)
            }

            /// Its address; an operator set carries the address of its AVS.
            pub(crate) async fn address(&self) -> Result<crate::scalar::Address, ApiError> {
                crate::scalar::Address::from_row(&self.0.row().address)
            }

            /// What it calls itself: in the metadata document that it names, as last recorded, or
            /// in its metadata URI. An operator set has the name of its AVS. At most 80 characters.
            /// UNTRUSTED: written by a stranger, escaped for display; anybody may take any name.
            pub(crate) async fn untrusted_name(
                &self,
                ctx: &Context<'_>,
            ) -> Result<Option<String>, ApiError> {
                crate::name::name_of(ctx, &self.0).await
            }

            /// The key of its rating in the oracle contract.
            pub(crate) async fn key(&self) -> Result<crate::scalar::Bytes32, ApiError> {
                crate::scalar::Bytes32::from_row(&self.0.row().key)
            }

            /// The block of the first fact about it.
            pub(crate) async fn first_seen(&self) -> crate::scope::Block {
                self.0.first_seen()
            }

            /// The position of the first fact about it.
            pub(crate) async fn first_position(&self) -> crate::scalar::LogPosition {
                crate::scalar::LogPosition(self.0.row().first_position)
            }

            /// The rating in force. Null while it has not been assessed; an entity that was
            /// assessed and got no grade has a rating without one.
            pub(crate) async fn rating(
                &self,
                ctx: &Context<'_>,
            ) -> Result<Option<crate::rating::Rating>, ApiError> {
                crate::rating::Rating::latest(ctx, &self.0.scope, self.0.row().id).await
            }

            /// The rating that was in force this many days before (1 to 3660), on the chain's
            /// clock. Null when there was none.
            pub(crate) async fn rating_before(
                &self,
                ctx: &Context<'_>,
                days: i32,
            ) -> Result<Option<crate::rating::Rating>, ApiError> {
                self.0.rating_before(ctx, days).await
            }

            /// Every assessment, the newest first.
            pub(crate) async fn rating_history(
                &self,
                ctx: &Context<'_>,
                period: Option<crate::period::HistoryPeriod>,
                first: Option<i32>,
                after: Option<String>,
                last: Option<i32>,
                before: Option<String>,
            ) -> Result<Page<crate::rating::Rating>, ApiError> {
                let args = PageArgs { first, after, last, before };
                self.0.rating_history(ctx, period, args).await
            }

            /// What was said about it and when, the newest first.
            pub(crate) async fn rating_actions(
                &self,
                ctx: &Context<'_>,
                period: Option<crate::period::HistoryPeriod>,
                first: Option<i32>,
                after: Option<String>,
                last: Option<i32>,
                before: Option<String>,
            ) -> Result<Page<crate::action::RatingAction>, ApiError> {
                let args = PageArgs { first, after, last, before };
                self.0.rating_actions(ctx, period, args).await
            }

            /// Its ratings in oracle contracts, the newest first.
            pub(crate) async fn publications(
                &self,
                ctx: &Context<'_>,
                first: Option<i32>,
                after: Option<String>,
                last: Option<i32>,
                before: Option<String>,
            ) -> Result<Page<crate::publication::Publication>, ApiError> {
                self.0.publications(ctx, PageArgs { first, after, last, before }).await
            }

            /// Signed claims about it that count or counted, the newest first.
            pub(crate) async fn attestations(
                &self,
                ctx: &Context<'_>,
                first: Option<i32>,
                after: Option<String>,
                last: Option<i32>,
                before: Option<String>,
            ) -> Result<Page<crate::attestation::Attestation>, ApiError> {
                self.0.attestations(ctx, PageArgs { first, after, last, before }).await
            }

            $($own)*
        }
    };
}

pub(crate) use rated_object;
