define(['views/fields/person-name'], (Dep) => {

    /**
     * The name of a person: asks for the last name, and says what a firm has instead, where EspoCRM's own field is
     * content with any part of a name and says no more than that it is required.
     */
    return class extends Dep {

        validateRequired() {
            if (!this.isRequired() || this.model.get('lastName')) {
                return false;
            }

            const message = this.translate('nameMissing', 'messages', 'CBeteiligte');

            this.showValidationMessage(message, '[data-name="lastName"]');

            return true;
        }
    };
});
