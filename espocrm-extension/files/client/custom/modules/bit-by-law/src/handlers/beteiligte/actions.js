define(['action-handler', 'bit-by-law:helpers/sync'], (Dep, Sync) => {

    /**
     * The actions of a Beteiligter. EspoCRM's server checks the user's rights and passes them on to BitByLaw.
     */
    return class extends Dep {

        isAvailable() {
            return Sync.isSetUp(this.view);
        }

        isCreateAgainAvailable() {
            return this.isAvailable() && this.view.model.get('syncStatus') === 'deleted_in_advoware';
        }

        syncNow() {
            return new Sync(this.view).run(this.view.model);
        }

        preview() {
            return new Sync(this.view).preview(this.view.model);
        }

        createAgain() {
            return new Sync(this.view).createAgain(this.view.model);
        }
    };
});
