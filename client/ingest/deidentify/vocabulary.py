"""Words of reports that nobody, or hardly anybody, is called; English, German, French and Spanish, folded.

Clinical words that the ontology knows need not stand here.
"""


def words(listed: str) -> frozenset[str]:
    """Every word of a list."""
    return frozenset(listed.split())


PLAIN = words(
    """
    a ab abdomen abdominal aber aberrant abgrenzbar abnormal abnormalities abnormality about above abscess
    abschnitt absence absent absorbed absorption abteilung abuse abuts abutting acc accentuated access
    accession accident accompanying according account accumulated accurate achse acid acquired
    acromioclavicular across active activity acute add added addendum addition additional additionally addr
    address ademas adenocarcinoma adenoma adenopathy adequate adequately adhesion adhesions adjacent
    adjunctive adjusted adm administered administration admission admit admitted adrenal adult advanced
    advised aerated aeration affect affected affecting affects affiliated after afternoon ag again against
    age aged agenesis agent agents ago agree ahora air airspace airway airways al albumin alcohol alcoholic
    algo algun alignment alive all alle allem aller allergic allergy alles allow allowing almost along alors
    already als also alteration alterations altered although alveolar alveoli always am ambient ambulance
    ambulatory aminotransferase amount amounts an anaemia analysis anamnese anatomic anatomical anatomy and
    anderen anechoic anemia anesthesia aneurysm aneurysmal angabe angaben angiogram angiographic angiography
    angle angulated angulation ankle ano anomalous anomaly anos anosmia another ansonsten antenatal anterior
    anteriorly anterolateral anteromedial antes antibiotic antibiotics antibody anticipated antigen
    antiretroviral antiviral antrum anxious any aorta aortic aorto ap aparece apex aphasia apical apices
    apnea apparent appear appearance appearances appeared appearing appears appendage appendicitis appendix
    application applied appointment appreciated appreciates appropriate approval approved approximate
    approximately apr apres aqueduct arch architecture are area areas arising around arret arrhythmia arrival
    arrow arrowhead arrowheads arrows arteria arterial arteries arteriovenous artery arthritic arthritis
    arthropathy artifact artifacts artifactual arzt arztin as asa ascending ascites aside aspartate aspect
    aspects aspiration assault assess assessed assessment assistance assisted associated asthenia asthma
    asymmetric asymmetry asymptomatic at ataxia atelectasis atelectatic atherosclerosis atherosclerotic atlas
    atrial atrium atrophic atrophie atrophy attached attempt attempted attended attending attention
    attenuated attenuating attenuation attn atypical au auch aucun aucune audit auf aufgrund aufnahme aumento
    aus auscultation ausgedehnt ausschluss aussi auswurf authenticated author autoimmune autre autres aux
    available avant avec average avoid aware away axial axilla axillary axis azygos background bacteria
    bacterial bajo bal balanced balloon bandlike bariatric barium bas basal based baseline bases basic
    basilar basis be became because becken beckens become becomes bed bedside been before befund befunde
    befundung began begin beginning behind bei beide beiden beidseits beim being below beneath benefit benign
    benzodiazepine better between beurteilung beyond biapical bibasilar bien bifurcation bilan bilateral
    bilaterale bilaterally bild bildgebung bildung bile biliary biopsies biopsy bipartite bladder bleed
    bleeding blunted blunting blurring bodies body bony border borderline borders both bounded bowing bpm
    brachial brachiocephalic bradycardia brainstem breath breathing brief bronche bronchial bronchiectasis
    bronchiolitis bronchitis bronchogram bronchograms bronchopulmonary bronchoscopy bronchovascular bronchus
    bruise bruising bullous bundles but by bypass bzw cada caecum cal calcaneus calcific calcification
    calcifications calcified calcium calculus calf caliber call called callosum callus cam came can cancer
    cannot capsule car carbon carcinoid carcinoma cardiac cardiaque cardio cardiogenic cardiomediastinal
    cardiomegaly cardiophrenic cardiopulmonary cardiothoracic cardiovascular careful carinatum caring carotid
    carpal carried cartilage cas caso category catheter catheters caudal caudate cause caused causes causing
    cava caval cavitary cavitation cavities cavoatrial cc ccu cd ce ceased cecum cela cells central centrally
    centre centrilobular cerebellar cerebellum cerebral cerebrospinal certain certainly cerveau cervical ces
    cet cette change changed changes changing channel characterised characteristic characteristics
    characterization characterized check chemotherapy chez chf chiasm chief childhood children chills
    chirurgie cholecystectomy cholecystitis cholelithiasis chondroid chronic chronically cigarette cigarettes
    cine circumferential circumscribed cirrhosis cirrhotic cistern cisterns classic classical classically
    classification clavicle clavicles clavicular cleared clearing clearly clin clinic clinical clinically
    clinician clinicians clips clonus closure clot clothing clots clubbing cluster clustered cm cns
    coagulation coarse coarsened coarsening coccyx code coding coexisting cognitive coil coils collapse
    collapsed collateral collaterals collected collection collections college collision colonic column coma
    combination combined come comes coming comma comme comment commented comments common commonly
    communicated communicates communicating communication community como comorbid comorbidities companion
    comparable comparaison compare compared comparing comparison compartment compatible complain complained
    complaining complains complaint complaints complete completed completely completion complex complexes
    complicated complication complications component components composed composition compressed compressing
    compression computed computertomographie con concave concentration concern concerned concerning concerns
    conclusion concurrent condition conditions condyle cone configuration confined confirm confirmation
    confirmed confirming confirms confluence confluent confusion congenital congested congestion congestive
    conjunction connected connection conscious consecutive consensus consent conservee consider considerable
    consideration considered consist consistent consistently consisting consists consolidated consolidation
    consolidations consolidative constipation constitutional consult consultation consulted contact contain
    contained containing contains contents context contiguous continue continued continues continuing
    continuous contour contoured contours contra contraindication contralateral contrast contraste
    contributed control controlled contusion conus conventional convex convexity convincing copd copies copy
    corazon core coronal coronary coronavirus corpus correct corrected correlate correlated correlation
    corresponding corresponds cortex cortical cortices corticosteroids costal costophrenic cote cou cough
    coughing could couple course courses coverage covered covering cr crackles cranial craniocaudal
    craniotomy cranium cream create created creatinine crepitations criteria critical crossing crowded
    crowding csf ct cta cual cuando cuff cuffing current currently curvature curvilinear cut cv cvc cxr
    cyanosis cyanotic cystic cysts cytology da dabei daily damage dann dans dark darstellung das dass dated
    dates datos datum daughter daughters db dd ddx de deaf death debridement debris debut decline
    decompensated decompression decrease decreased decreases decreasing decubitus dedicated dedo deep deeper
    defect defects defibrillator deficit deficits defined definite definitely definition definitive deflated
    deform deformation deformed deformities deformity degeneration degenerative degree degrees dehydration
    del delay delayed delineate delineated delirium dem demarcated demineralization demonstrate demonstrated
    demonstrates demonstrating demonstration den denied denies densidad densities density dental denying
    department dependent depending depicted depicting depicts depth depuis der derecha derecho derived dermal
    dermoid derrame des desaturation descended descending describe described describes description desde
    designated desired despite despues destruction destructive detail detailed details detect detectable
    detected detection deteriorated deterioration determine determined deutlich deux develop developed
    developing development developmental deviated deviation device devices dextrocurvature dextroscoliosis
    diabetes diabetic diagnose diagnosed diagnoses diagnosis diagnostic diagnostico dialysis diameter
    diameters diametre diaphragm diaphragmatic diaphragms diarrhea dias dict dictated dictating dictation did
    died diese diesem diesen dieser dieses diet difference differences different differential differentiate
    differentiation difficult difficulty diffuse diffusely diffusion digestive digital digitally dilatation
    dilated dilation dimension dimensions dimer diminished direct directed direction directly dis disappear
    disappeared disc discharge discharged discomfort discordant discrete discs discuss discussed discussion
    disease diseased diseases disk disks dislocated dislocation dislocations disorder disorders displaced
    displacement displacing display displayed displaying displays disruption dissected dissection
    disseminated distal distally distance distended distension distention distinct distinction distinguish
    distorted distortion distress distributed distribution diverticula diverticulitis diverticulosis
    diverticulum division dizziness do dob docteur doctor doctora doctors document documentation documented
    does dome dominant donc donde done doppler dorsal dorsum dort dose doses double doubt douleur downward dr
    drainage drained draining drains drawn dressing drinking drive droite drug drugs dry du dual ducts due
    dull duodenal duodenum duplex duplicate duplicated duration durch during dvt dx dynamic dysarthria
    dysfunction dysfunctional dysphagia dysplasia dysplastic dyspnea dyspnoea dysuria each ear earlier easily
    ebenso eccentric ecchymosis ecg echo echocardiogram echoes echogenic echogenicity eclampsia ectasia
    ectatic ectopic eczema ed edad edema edematous edges edited eeg effaced effacement effect effective
    effects effort effusion effusions eher eigene eight ein eine einem einen einer eines einige either
    ejection ekg el elbow elderly elective electrodes electronic electronically elements elevated elevation
    elevations eleven elle elles ellos elongated elsewhere email emboli embolic embolism embolization
    embolized embolus emergency emergent emphysema emphysematous empty empyema en encased encasement
    encephalitis encephalomalacia encephalopathy enchondroma end ended ending endobronchial endocarditis
    endometrial endometriosis endometrium endoscope endoscopic endoscopically endoscopy endotracheal endplate
    endplates ends enema engorged engorgement enhance enhanced enhancement enhances enhancing enlarge
    enlarged enlargement enlarging enough ensure enter entered enteric entering enterocolitis enters entire
    entirely entrance entrapment entre entry entsprechend entzundung eosinophilic eosinophils epanchement
    ependymoma epicardial epidemiological epidural epigastric epiglottis epilepsy epilepticus episode
    episodes epistaxis equal equipment equivocal er era erguss ergusse erkrankung eroded erosion erosions
    erosive erroneous error errors erweitert erweiterung erythema es esa ese eso esophageal esophagus
    especially essentially est esta established estan este estimate estimated esto estos estudio et etait etc
    ete ethmoid etiology etre etwa evaluate evaluated evaluation even evening event eventration events
    evidence evident evolution evolving exacerbation exact exactly exaggerated exam examen examination
    examinations examine examined examiner examining example exams excavatum except excess excessive exclude
    excluded excluding exclusion excreted excretion exercise exertion exhibit exhibited exhibits existing
    exists exit expanded expansile expansion expected experience experienced experiencing expiration
    expiratory explain explained exposed exposure ext extend extended extending extends extension extensive
    extensively extent exterior external externally extra extraaxial extradural extrahepatic extraluminal
    extrapleural extrathoracic extravasation extreme extremely extremities extremity extrinsic extubated eye
    eyes fabella face facet facets facial fact factor factors facts fail failed failing failure faint fait
    faite fallen falling false falx fam family fan far fascia fashion fat fatal father fatigue fats fatty
    favor favored favors fax fdg feature features febrile fecal fecha feeding fehlend felt female females
    femme femoral femur ferritin fetal fettgewebe fetus fever few fh fib fibre fibres fibrillation fibrin
    fibroid fibroids fibroma fibromyalgia fibronodular fibrosis fibrotic fibrous fibula fibular fiebre fievre
    fifth fig figure figures filed filename fill filled filling fills film films filter final finalized
    finally find finding findings finds fingers fissural fissure fissures fistula five fixation fixed flame
    flattened flattening flexed flexion flexure flow fluent fluid fluids fluorescence fluoroscopic
    fluoroscopy flussigkeit flutter flux fna focal focally foci focus focused follicle follicular follow
    followed following follows followup food for foramen foramina foraminal foreign form formation formed
    forming forms fossa found four fourth foyer foyers fraction fractura fracture fractured fractures frage
    fragestellung fragment fragmentation fragments frailty fraktur frame frau freie frequency frequent
    frequently from frontal ft fu fue full fullness fully funcion function functional fundus further fused
    fusiform fusion future gad gadolinium gait gal gallbladder gallstone gallstones ganglia ganglion gangrene
    gaseous gases gastric gastritis gastroesophageal gastrointestinal gastrostomy gated gathered gave gefass
    gefasse gegenuber gelenk general generalized generally generation generator genetic genou gentle gering
    geringe geringer geringgradig gestation gestational get getting gewebe gezeichnet gi giant girl give
    given gives giving gland glands glandular glenohumeral glenoid glioma global globally globe globular
    glucose goes going goiter gone gorge gotten gp gradient grading gradual gradually grafts grams granular
    granuloma granulomas granulomata granulomatous gravid gravity greater greatest greatly grenze grosse
    grossly ground grounds group groups growing growth gu guidance guided guideline guidelines guidewire
    gynecologic gynecology gyri gyrus ha haart haben habitus had haemoptysis haemorrhage half hallazgos
    hamartoma hanche hardware has hasta hat hatte have having hazy hct he headache headaches heading heads
    healed healing health healthcare healthy hearing heavily heavy hecho height heights held helpful
    hematemesis hematocrit hematoma hematuria hemi hemiazygos hemidiaphragm hemidiaphragms hemiparesis
    hemiplegia hemithorax hemoglobin hemoptysis hemorrhage hemorrhages hemorrhagic hence heparin hepatic
    hepatitis hepatocellular hepatology hepatomegaly hepatosplenomegaly her herd herde here hereditary
    herniated herniation herpes herrn heterogeneity heterogeneous heterogeneously heterogenous hg hiatal
    hiatus hidden hier higado higher highest highlighted highly hila hilar hilum hilus him hinweis hinweise
    hippocampal hippocampus hirsute his histiocytosis histologic histological histology histoplasmosis
    history hiv holes homme homogeneous homogeneously homogenous honeycomb honeycombing hopital horizontal
    horizontally hormone horns horseshoe hospital hospitalised hospitalization hospitalized hot hour hours
    how however hpi hr hrct hrs hu hueso human humeral humerus hung hx hydrocele hydrocephalus hydronephrosis
    hydropneumothorax hydrothorax hygroma hyper hyperaerated hyperattenuating hyperdense hyperechoic
    hyperemia hyperexpanded hyperexpansion hyperglycemia hyperinflated hyperinflation hyperintense
    hyperintensities hyperintensity hyperkalemia hyperlipidemia hyperlucency hyperlucent hyperparathyroidism
    hyperplasia hypertension hypertensive hyperthyroidism hypertrophic hypertrophy hypo hypoattenuating
    hypodense hypodensities hypodensity hypoechoic hypoglycemia hypoinflated hypoinflation hypointense
    hypointensity hypoplasia hypoplastic hypotension hypothesis hypothyroidism hypoventilation
    hypoventilatory hypoxemia hypoxemic hypoxia hypoxic hysterectomy hysterosalpingogram i icd icu id idea
    ideal identical identification identified identifies identify idiopathic if ig ihre ike il ileal ileum
    ileus iliac illness ils im image imaged imagery images imaging immature immediate immediately immer
    immune immunocompromised immunodeficiency immunosuppressed impacted impaction impaired impinge
    impingement implant implantation implanted implants implies imply important impresion improve improved
    improvement improving in inability inadequate inches incidental incidentally incision incl include
    included includes including incomplete incompletely inconsistent incontinence incorporated increase
    increased increases increasing increasingly indentation independent indeterminate index indicate
    indicated indicates indicating indication indications indicative indirect indistinct individual induced
    indwelling inf infant infants infarct infarction infarctions infarcts infected infection infections
    infectious infective inferior inferiorly infiltrat infiltrate infiltrated infiltrates infiltrating
    infiltration infiltrative inflamed inflammation inflammatory inflated inflation influenza info
    information informe informed infraclavicular infrahilar infrarenal infusion ingested inguinal inhalation
    inhomogeneous initial initially initiated initiation injected injection injuries injury inlet innenohr
    inner innominate innumerable input insert inserted insertion inside insignificant inspiration inspiratory
    inspired instability installed instance instead institution instrumentation instruments insufficiency
    insufficient insula insular insulin intact intake intended intense intensities intensity intensive
    interatrial interest interferon interim interior interlobar interlobular intermediate intermittent
    internal internally interpedicular interposed interposition interpretation interpreted interpreting
    interspace interspaces interstitial interstitium interval intervals intervention interventional
    interventricular intervertebral intestinal intestine into intra intraaxial intracranial intradural
    intrahepatic intralobular intraluminal intramedullary intraosseous intraperitoneal intrathoracic
    intravascular intravenous intravenously intraventricular intrinsic introduced intubated intubation
    intussusception invade invaded invades invading invasion invasive inverted investigation involve involved
    involvement involves involving ipsilateral irm irregular irregularities irregularity irregularly
    irritation ischemia ischemic isodense isoechoic isointense isolated isolation isotope issue issues ist it
    its itself iv ivc izquierda jahre jahren jaundice jaw jedoch jejunal jejunum joint joints jour jours jr
    jugular jump junction juxta kalk keeping kein keine keinem keinen keiner kept ketoacidosis kg kidneys
    killed kilograms klinik klinische klinischer knees knife knob knochen know knowledge known knuckle
    kompression kontrast kontrastmittel kontrolle kopfschmerz kranial krankheit kub kv kyphosis kyphotic la
    lab label labeled labels labor laboratory labs lac laceration lacking lacrimal lactate lacunar lage lame
    lamina laminectomy laparoscopic laparotomy lappen laquelle largely larger largest laryngeal larynx las
    lasion lasionen lat late latency later lateral laterality laterally latest latter lavage layering lbs le
    leading leads learned least leave leaves leaving led leichte leichter len lends length lenticular lequel
    les lesion lesiones lesions less lethargy lets letters leucocytosis leukaemia leukemia leukocyte
    leukocytes leukocytosis leur lev level levels levoscoliosis lie lies lifting ligament ligamentous
    ligaments ligation like likelihood likely limbs limit limitation limitations limited limiting limits
    linear lines lingula lingular lining linken linker links lipid lipoma lipomatous liquid liquide lis
    listed lists liter literature liters lithiasis lithotripsy ll lll lo lobar lobectomy lobes lobular
    lobulated lobulation lobules local localised localization localized locally located location locations
    loculated loculation logic lon longitudinal longstanding look looked looking looks loop loops loosening
    looser lopinavir lordosis lordotic lors los lose losing lost lots lou loud lowered lowering lowest
    lucencies lucency lucent lul lumbago lumbar lumbosacral lumen lumina luminal lumpectomy lungen lungs
    lupus luteal lying lymph lymphadenopathy lymphangitic lymphatic lymphknoten lymphocyte lymphocytes
    lymphoid lymphoma lymphopenia lytic mac machine macrophage macroscopic madame made mail mainly mainstem
    maintain maintained mais majority make makes making mal malabsorption malade maladie malaise males
    malformation malformations malignancies malignancy malignant mammogram mammographic mammography manage
    managed management mandible manifest manifestation manifestations manifested manifesting mann mano
    manubrium many mapping margin marginal marginally marginated margination margins marked markedly markers
    market marking markings mas masa mask masked masks masse masses massive masslike mastectomy mastoid
    material maternal matrix matters mature maxilla maxillary maxima maximal maximally maximum md me meaning
    meaningful meantime measure measured measurement measurements measures measuring mechanical mechanism med
    medecin medial medially median mediastin mediastinal mediastinoscopy mediastinum medical medically
    medication medications medicine medico medida medium medulla medullary meet mehr mehrere meist mel melena
    member members membrane membranes meme men meningeal meninges meningioma meningitis meniscal meniscus
    menopause menos mental mentioned mes mesenteric mesentery meses mesure met metabolic metallic metastases
    metastasis metastatic meters method methods mg mhz mi microcalcifications micronodular microscopic mid
    middle midline midlung midthoracic midzone migraine migrated migration mildly milk milliliters millimeter
    millimeters million milz min mind mineral mineralization minimal minimally minimum minute minutes mis
    misalignment mismo missed missing mit mitral mitte mittel mittellinie mixed ml mm mobile modalities
    modality mode moderate moderately modest modified moins mois moment monitor monitored monitoring monocyte
    month months more morning morphologic morphology mortality most mostly mother motion motor movement
    moving moyen mra mrcp mri mrn mrv ms msec much mucosa mucosal mucus mujer multi multifocal multilevel
    multilobar multilobular multilobulated multiplanar multiple multisegmental multiview mural murmur muscle
    muscles muscular musculature musculoskeletal muskel must muy mv my myalgia myalgias mycobacterial
    myelitis myelogram myeloma myelopathic myelopathy myocardial myocardium myopathy nach nachweis nacimiento
    nad name named names nan narrow narrowed narrowing nasal nase nasogastric nasopharyngeal nasopharyngitis
    nasopharynx native natural nature nausea navicular ne nearby nearly neatly neben nebenbefund nebenniere
    nebulization necessarily necessary necks necrosis necrotic needed needle needs neg negative neither
    neonatal neonate neoplasia neoplasm neoplasms neoplastic nephrectomy nephritis nephropathy nephrostomy
    nerf nerves nervio nervous net network neural neurofibroma neurogenic neurologic neurological neurology
    neuroma neuropathy neurosurgery neurosurgical neutrophil neutrophilia neutrophils never nevertheless
    newer newly next ng ni nicht nieren nightly nights nil nipple niveau no noch nodal nodes nodular
    nodularity nodule nodules nom nombre non noncalcified noncontrast nondisplaced none nonenhancing
    nonenlarged nonetheless nonobstructive nonsmoker nonspecific nonvisualization nonvisualized nor normale
    normales normally nos not nota notable notably noted notes nothing notice noticed notification notified
    notify notion nouveau novel now npo nt nuanced nuclear nuclei nucleic nucleus null number numbers
    numbness numerous nur nurses nursing nystagmus o ob obere oberen oberer obese obesity object objects
    oblique obliquely obliterated obliteration oblongata obscuration obscure obscured obscures obscuring
    observation observations observe observed obstructed obstructing obstruction obstructive obtain obtained
    obtaining obvious obviously occasional occasionally occipital occluded occluding occlusion occlusive
    occupying occur occurred occurrence occurring occurs oct ocular oder odynophagia oedema oeil oesophagus
    oeuf of off office often ohne ojo ok old older oligemia oma omental on once oncologic oncology one ones
    ongoing only onset onto oophorectomy op opacification opacified opacities opacity opaque open opened
    opening openings operated operation operative operator opinion oppose opposed opposite optic optical
    option options or oral orally orbit orbital orbits order ordered ordering orders ordinary organising
    organism organizing organs orientation oriented orifice origin original originally originate originates
    originating oropharyngeal oropharynx orthogonal orthopedic orthopnea osseous osseux ossification ossified
    osteoarthritis osteoarthrosis osteoblastic osteochondroma osteolytic osteoma osteomyelitis osteopenia
    osteopenic osteophyte osteophytes osteophytic osteoporosis osteoporotic osteosarcoma ot other others
    otherwise otra otro otros ou our out outbreak outbreaks outcome outer outflow outlet outline outlined
    outlines output outside ovarian ovaries ovary overall overdistended overdistention overexpanded
    overexpansion overflow overhead overinflated overinflation overlap overlapping overlie overlies overload
    overlying overseas overt overview ovoid own oxygen oxygenated oxygenation pa pacemaker pacer paciente
    pacientes pacing packed packs pacs pad pads paediatric paging paid pair paired palate palpable
    palpitations palsy pancreas pancreatic pancreatitis pancytopenia panel pankreas paper papillary par para
    paracentesis paraesophageal paragraph parallel paralysis paramediastinal parameter parameters paranasal
    paraplegia parapneumonic paraseptal parasite paraspinal paratracheal paravertebral pared parenchyma
    parenchymal parenchymatous parents paresthesia parietal parity paroi parotid parte partial partially
    participate particular particularly parties partly parts pas passed passes passing past paste patchy
    patella patellar patency patent path pathogen pathogenic pathogens pathologic pathological pathologically
    pathology patiente patienten patientin patients pattern patterns pcp pcr pe peau pectoral pectus
    pediatric pedicle pedicles pelvic pelvis pendant penetrate penetrated penetrating penetration people per
    percent percutaneous perforated perforation perform performed performing perfusion perhaps periaortic
    peribronchial peribronchovascular pericardial pericarditis pericardium perihilar perinephric perineum
    period periodic periods periosteal peripheral peripherally periphery peritoneal peritoneum perivascular
    periventricular permanent permit pero persist persisted persistence persistent persisting persists
    personal personally pertinent pet peu ph phalanx pharyngeal pharynx phase phases phi phlebolith
    phleboliths phone photograph phrase phrenic physical physician physicians physiologic physiological
    physis picc picture pictures picu piece pieces piel pierced pigtail pills pip pituitary placebo placed
    placement placenta places placing plan planar plane planes planning plantar plaque plaques plasma
    platelet platelets platelike plates play please pleura pleuraerguss pleural pleurisy pleuritic
    pleurodesis plevre plexus plus pneumatocele pneumobilia pneumococcal pneumocystis pneumomediastinum
    pneumonectomy pneumonia pneumonias pneumonic pneumonie pneumonitis pneumopathie pneumopericardium
    pneumoperitoneum pneumothoraces pneumothorax po pocket pockets poco pointed points poitrine poles
    polycystic polymerase polyp polypoid polyps polyuria poorly popcorn popliteal population por porcine
    porque portable portacath portal portion portions ports pos posed posible position positional positioned
    positioning positions positive positively possibility possible possibly postcontrast posterior
    posteriorly posterobasal posterolateral posteromedial postmenopausal postobstructive postoperative
    postoperatively postpartum postsurgical posttraumatic potential potentially pouch poumon poumons pour
    practice practitioner praxis pre precise precisely preclude precludes predisposed predominance
    predominant predominantly predominate preeclampsia preferentially preferred pregnancy pregnant
    preliminary premature prematurity prenatal prenom preoperative preparation prepared pres presacral
    presence present presenta presentation presented presenting presents preserved pressed pressure
    presumably presumed presumptive prevent prevented prevertebral previous previously primarily primary
    principal print printed priors prise private prn probable probably probe problem problems procalcitonin
    procedure procedures proceed process processed processes processing produced produces product production
    productive profile profound prognosis program progress progressed progresses progressing progression
    progressive progressively project projected projecting projection projections projects prolapse prolonged
    prominence prominent prominently prone pronounced proof properly prophylaxis proportion prostata prostate
    prostatic prosthesis prosthetic protein proteinuria protocol proton protrude protruding protrusion
    provide provided provider providers provides proximal proximally prueba pruning pruritic pseudoaneurysm
    pseudocyst psoas psoriasis psychiatric psychiatry pt pts ptx puberty pubic public published pulled pulmon
    pulmonaire pulmonar pulmonary pulmones pulmonic pulsation pulse pulseless punctate puncture pure purpose
    purposes purulent push pushed pushing put putamen putting pyelonephritis pyloric pylorus pyrexia qd qu
    quadrant quadrants quadriplegia quality quantitative quantity que quelques question questionable
    questioned questions qui quiescent quite ra rachitic radial radiating radiation radical radicular
    radiculopathy radio radioactive radiodense radiodensities radiodensity radiograph radiographic
    radiographically radiographie radiographs radiography radiologic radiological radiologically radiologist
    radiologists radiology radiolucency radiolucent radiopacities radiopacity radiopaque radiotherapy radius
    raised rales ramus random randomly ranged ranges ranging rapid rapidly rare rarefaction rarely ras rate
    rather ratio raum raumforderung rayon rays rcc reached reaches reaching reaction reactive readily
    readings reads reasonable reasonably rec recall receive received receives receiving recent recently
    reception recess recesses recherche rechte rechten rechter rechts recognised recognition recognized
    recommend recommendation recommendations recommended reconstructed reconstruction reconstructions record
    recorded recovered recovery recruited rectal rectangular rectum rectus recurrence recurrent
    redemonstrated redemonstration redistribution redness reduced reduces reducing reduction refer reference
    referenced referral referred referring refers reflect reflected reflecting reflection reflective reflects
    reflux reformats reformatted refused regard regarding regardless regelrecht regelrechte regimen region
    regional regions registered regression regular regulier regurgitation reidentified relapse related
    relating relation relationship relative relatively relatives relaxation release released reliable relief
    rem remain remainder remained remaining remains remarkable remarks remedy remnant remodeled remodeling
    remote removal remove removed renal renogram repair repaired repeat repeated repeatedly replaced
    replacement report reported reportedly reporting reports represent representation representative
    represented representing represents request requested requesting require required requires requiring res
    research resected resection reservoir residual resolution resolve resolved resolving resonance resorption
    respect respective respectively respiration respirations respiratory respond response responses
    responsible resting restricted restricting restriction restrictive result resulted resulting results
    resume retained retention reticular reticulation reticulations reticulonodular retina retract retraction
    retrocardiac retrograde retroperitoneal retroperitoneum retropharyngeal retrosternal return returned
    returning reveal revealed revealing reveals reverse reversed review reviewed reviewer reviewing reviews
    revised revision revisit rheumatoid rheumatology rhonchi ria ribcage ribs righthand rightward rigid rings
    rinon rippen rises rising risk risks ritonavir rll rml rn ro rodilla role rolling rontgen roots rotate
    rotated rotation rotational rotator rotatory roughly rounded route routine routinely rows rr rt rue rul
    ruled rules ruling run running runs rupture ruptured rx sa sac saccular sacral sacro sacroiliac sacrum
    safe safely safety sagittal said sal saline salivary same sampling sangre sans sarcoid sarcoidosis
    sarcoma sat satellite satisfactorily satisfactory sats saturated saturation saturations save saved saying
    says scalloping scalp scan scanned scanner scanning scanogram scanography scans scaphoid scapula scapular
    scarred scarring scars scatter scattered schadel scharf schedule scheduled schmerz schmerzen schwellung
    sciatica scintigraphy sclera sclerosis sclerotic scoliosis scoliotic score scored scores scoring scrotal
    scrotum se seated second secondary secondly seconds secretions section sectional sections secured sed
    seeding seeing seeking seem seemingly seems seen sees segment segmental segments segun sehr sein seit
    seiten seizure seizures sejour select selected selection self sella semi sen send sending senescent seno
    senor senora sensation sensitive sensitivity sent sentinel separate separated separately separation
    sepsis septa septal septic septum sequela sequelae sequence sequences sequential ser serial series
    serious seriously serologic serologies serology seroma serous serpentine serum served service services
    serving ses set sets setting settings settled seven several severe severely severity sex shadowing
    shadows shaggy shaped shapes share shared she sheet shielded shift shifted shifting shifts shivering
    shortening shortly shortness should shoulders showed showing shown shows shrunken shunting shunts si sib
    sibling siblings sicht sid sided sie signal signals signe signed signes significance significant
    significantly signify signo signos signs silhouette silhouetted silhouettes silhouetting sim similar
    similarly simplex simply simulate simulating sin since sind single sinogram sinus sinuses sinusitis
    sistema site sites sits sitting situ situated situation situs sized sizes skeletal skeleton skelett skewed
    ski skip sklerose slice slices sliding slight slightly slim slipped slowed slowing slowly smaller smallest
    smear smears smoked smoking smoothly snapshot snoring so sob sobre social society softening solely
    solitary some something sometimes somewhat son sonogram sonographic sonographically sonographie sonography
    sons sont soon sooner sounds source sources sous sowie sp space spaced spaces spanning spans spared spares
    sparing spastic spasticity spatial speaking specialist specialists specific specifically specificity
    specified specimen specimens specks spect spectrum speech speed sphenoid spherical sphincter spiculated
    spiculation spilled spin spinal spines spinous spiral spirometry spite spleen splenectomy splenic
    splenomegaly splint spoke spoken spondylitis spondylolisthesis spondylolysis spondylosis spontaneous
    spontaneously spots spread spreading spurring spurs sputum squamous ssn st stabilised stability
    stabilization stabilized stable staff staged stages staging stain stains stand standing stapled staples
    started starting starts stat stated states station stationary stations status stauung stay stays std
    steatohepatitis steatosis stelle stenosed stenosis stenotic stent stented stenting stents steps
    stereotactic sternal sternotomy sternum steroid steroids stiff stimulator stir stones stool stop stopped
    stops storage straight straighten straightening stranding strategies streak streaks streaky strength
    strengthening stresses stretch stretched stricture strictures stridor striking stripe strips strongly
    structural structure structured structures struktur strukturen studied studies study studying su subacute
    subadjacent subarachnoid subcarinal subcentimeter subchondral subclavian subcortical subcostal
    subcutaneous subdiaphragmatic subdural subglottic subhepatic subject subjective subjects subluxation
    submandibular submental submitted suboptimal suboptimally subpleural subpulmonic subsegmental subsequent
    subsequently substance substantial substantially substernal subtle subtotal subtraction success
    successful successfully such sudden suddenly suffered suffers suffices sufficient sufficiently suggest
    suggested suggesting suggestion suggestive suggests suit suitable suite sulci sulcus summary superficial
    superimposed superimposition superinfection superior superiorly supine supplemental supplied supply
    supplying support supported supporting supportive supports suppressed suppression suppurative
    supraclavicular suprahilar suprapubic suprasellar supraspinatus sur surely surface surfaces surgeon
    surgeons surgeries surgery surgical surgically surrounded surrounding surrounds surveillance survey
    surveyed sus susceptibility suspect suspected suspicion suspicious suture sutures svc swab swabs
    swallowing sweats swelling swollen sx syl symmetric symmetrical symmetrically symmetry symptom
    symptomatic symptomatology symptoms syncopal syncope syndrome syndromes synechia synovial synovitis
    synovium system systematic systemic systems systolic tachycardia tachypnea tachypneic tachypnoea taille
    take taken takes taking talar talk talked talus tam tamano tambien tamponade tant tao tapering targeted
    task tb tearing tears technical technically technik technique techniques technologist technologists
    technology tecnica tejido tel telephone telephoned tell temp temperature temporal temporally temporary
    tended tendencies tendency tender tenderness tending tendinitis tendinopathy tendinosis tendon tendons
    tends tension tentative tentatively tentorium teratoma term terminal terminated terminates terminating
    terms territory tested testes testicle testicular testing testis tests textured thalamic thalamus
    thalassemia than thank thanks that the their theirs them themselves then therapeutic therapies therapy
    there thereafter therefore thereof these they thickened thickening thickenings thicker thickness thigh
    thing things thinned thinning third thirds this thoracentesis thoracic thoracique thoracolumbar
    thoracoscopy thoracostomy thoracotomy thorax those though thought thousand threatening threshold threw
    throat thrombocytopenia thrombosed thrombosis thrombotic thrombus through throughout thus thymic thymoma
    thymus thyroid thyroidectomy thyroiditis tia tibia tibial tibiofibular tid tied tiempo tiene tight
    tightness tilt tilted timing tingling tinnitus tiny tips tissue tissues to tobacco today todo todos
    together told tomograms tomographic tomography tonsil tonsils too took tool toothed topogram tor torax
    torsion tortuosity tortuous tos total totally tous tout toute toux toward towards toxic toxicity toxin
    trabecular tracer trachea tracheal tracheobronchial tracheomalacia tracheostomy tract traction tracts
    traditional training traitement transaminase transaxial transcribed transcription transcriptionist
    transducer transfer transferred transferring transfusion transient transit transition transitional
    translation translucent transmitted transplant transplantation transplanted transplants transposition
    transverse transversely trapezius tras trauma traumatic travel traveled travels traversed traverses
    traversing treat treated treating treatment treatments tremor trend tres tri trial triangle triangular
    tricuspid trilobed trimester triple trocar trochanter trois tropical troponin trouble truly trx try
    trying ts tubercle tuberculosis tuberculous tuberosity tubes tubing tubular tumeur tumor tumorous tumors
    tumour tunneled turned turning twelve twice twist twisted two tx type types typical typically ua uber
    uberweiser ulcer ulcerated ulceration ulcers ulna ulnar ultrasonographic ultrasonography ultrasound um
    umbilical un una unable unaffected unauffallig unauffallige unavailable uncertain unchanged unclear
    uncommon uncomplicated uncovertebral und under undergo undergoes undergoing undergone underlying
    underneath understood undertaken underventilation underwent undetermined undisplaced une unenhanced
    unexplained unfavorable unfolded unfolding unfortunately uniform uniformly unilateral unilocular
    unintentional union unions unique units university unklar unknown unless unlike unlikely uno unos
    unremarkable unresolved unresponsive unsatisfactory unspecified unstable unsure unten unter untere
    unteren unterer untersuchung until unusual unusually up updated upon upper upright upward upwards urea
    uremia ureter ureteral ureters urethra urethral urgent urgently uri urinary urine urographic urography
    urologie urosepsis us use used useful user uses usg using usual usually uterine utero uterus uti utility
    utilization utilized uvula vaccinated vaccination vaccine vagal vagina vaginal vague vaguely valid value
    values valve valves valvular var variability variable variant variants variation variations varices
    varied varies various vary varying vas vascular vascularity vasculature vasculitis vaso vasogenic vasos
    vastly vater vehicle veineux veins ven venous ventilated ventilation ventilator ventilatory ventral
    ventricle ventricles ventricular ventricule ventriculitis ventriculomegaly ventriculoperitoneal ventrikel
    ver verbal verbally verdacht verdichtung vergleich verification verified verify verkalkung verkalkungen
    verlauf verletzung vers verschattung versus vertebra vertebrae vertebral vertical vertically vertiginous
    vertigo very vesical vesicle vesicule vessel vessels vez via viable vias vicinity video videofluoroscopy
    videoscopic view viewed viewer viewing views villous viral viremia virtual virtually virus viruses
    viscera visceral visible visibly vision visit visited visualised visualization visualize visualized vital
    vitals vitamin vocal voice void voids voir volume volumes volumetric voluntary vom vomiting von vor
    vorhanden vorliegend vorn vortex vp vs vu vulnerable wait waiting walking walled wanted wants war warrant
    warranted was watch watched waveform waves ways wbc we weakened weakness wean weaning wear wearing
    website wedged wedging week weekend weekly weichteile weighing weighted weiter weiterer welldefined wenig
    went werden were what whatever wheeze wheezes wheezing wheezy when whenever where whereas wherein whether
    which whichever whilst who whoever wholly whom whose why widely widened widening wider widespread width
    wie wife window windows wirbelkorper wirbelsaule wird wired wires wish with within without witnessed wnl
    wo woke woman women wondering wording words work worked worker working workup worldwide worried worrisome
    worse worsen worsened worsening worst would wound wounds wrapped wrapping write writes writing written
    wrong wt wurde wurden xr xray xrays y ya years yellow yes yesterday yet yield yielded yo you youngest
    your yr yrs zeichen zeigen zeigt zero zip zone zones zoom zu zum zur zwei zwischen zygoma zygomatic zyste
    zysten
    """
)
