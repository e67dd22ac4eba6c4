define(['action-handler', 'bit-by-law:helpers/sync'], (Dep, Sync) => {

    /**
     * An address or account is synced together with its Beteiligter.
     */
    return class extends Dep {

        isAvailable() {
            return Sync.isSetUp(this.view) && !!this.view.model.get('beteiligteId');
        }

        async syncNow() {
            const owner = await this.view.getModelFactory().create('CBeteiligte');

            owner.id = this.view.model.get('beteiligteId');

            return new Sync(this.view).run(owner, this.view.model);
        }
    };
});
