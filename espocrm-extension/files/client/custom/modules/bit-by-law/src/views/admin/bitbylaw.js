define(['views/settings/record/edit'], (Dep) => {

    /**
     * Administration > BitByLaw: where the buttons of a Beteiligter reach BitByLaw, and the key that both know.
     */
    return class extends Dep {

        layoutName = 'bitByLaw';
        saveAndContinueEditingAction = false;
    };
});
