define(['action-handler', 'bit-by-law:helpers/sync'], (Dep, Sync) => {

    return class extends Dep {

        init() {
            if (!Sync.isSetUp(this.view)) {
                this.view.removeMassAction('syncNow');
            }
        }

        actionSyncNow(data) {
            return new Sync(this.view).runMany(data.params.ids || []);
        }
    };
});
